# Writes FOLDER/modules.sha256, one line `<sha256>  <size>  <resource>` for each file that Java may load, and removes from FOLDER
# what is no longer built; runs as `cmake -D... -P modules.cmake`.
#
# FOLDER   <natives>/io/retort/bindings/cuda        FILES  comma-separated, relative to FOLDER

string(REPLACE "," ";" files "${FILES}")
list(SORT files)
file(GLOB_RECURSE present RELATIVE ${FOLDER} ${FOLDER}/*)
list(REMOVE_ITEM present ${files} modules.sha256)
foreach(stale IN LISTS present)
  file(REMOVE ${FOLDER}/${stale})
endforeach()

set(lines "")
foreach(file IN LISTS files)
  file(SHA256 "${FOLDER}/${file}" sum)
  file(SIZE "${FOLDER}/${file}" size)
  string(APPEND lines "${sum}  ${size}  io/retort/bindings/cuda/${file}\n")
endforeach()
file(WRITE "${FOLDER}/modules.sha256" "${lines}")
