# Writes NATIVES/io/retort/bindings/linux-x86_64/natives.sha256: one line `<sha256>  <size>  <resource>` for every native
# library that Java may unpack. Runs after each link as `cmake -D... -P checksums.cmake`.

set(lines "")
foreach(name libgomp.so.1 libdnnl.so.3)
  file(SHA256 "${ONEDNN}/${name}" sum)
  file(SIZE "${ONEDNN}/${name}" size)
  string(APPEND lines "${sum}  ${size}  org/bytedeco/dnnl/linux-x86_64/${name}\n")
endforeach()

string(REPLACE "," ";" isas "${ISAS}")
foreach(isa ${isas})
  set(resource "io/retort/bindings/linux-x86_64/${isa}/libretort_cpu.so")
  file(SHA256 "${NATIVES}/${resource}" sum)
  file(SIZE "${NATIVES}/${resource}" size)
  string(APPEND lines "${sum}  ${size}  ${resource}\n")
endforeach()

file(WRITE "${NATIVES}/io/retort/bindings/linux-x86_64/natives.sha256" "${lines}")
