# Compiles one .cu file for one target and keeps what ptxas says of it; runs as `cmake -D... -P compile.cmake`.
#
# NVCC     the compiler              SOURCE   <family>.cu
# ARCH     sm_80, sm_90a, ... for machine code, compute_80, ... for PTX
# OUTPUT   cubin or PTX              DEPFILE  for the build tool, written with OUTPUT's name
# LOG      what ptxas reports (machine code only)
# LINES    whether machine code knows its source lines
# ROOT     the repository's root; INCLUDES  directories, comma-separated

string(REPLACE "," ";" includes "${INCLUDES}")
list(TRANSFORM includes PREPEND -I)
# 1675: pragmas of GCC in the headers shared with the CPU library.
set(flags -std=c++20 -O3 -diag-suppress 1675 -Werror all-warnings ${includes})
if(ARCH MATCHES "^compute_")
  set(kind -ptx -arch=${ARCH})
else()
  set(kind -cubin -arch=${ARCH} -Xptxas -v)
  if(LINES)
    list(APPEND kind -lineinfo)
  endif()
endif()

cmake_path(GET OUTPUT PARENT_PATH directory)
file(MAKE_DIRECTORY ${directory})
execute_process(
  COMMAND ${NVCC} ${flags} ${kind} -MD -MF ${DEPFILE} -MT ${OUTPUT} -o ${OUTPUT} ${SOURCE}
  RESULT_VARIABLE status OUTPUT_VARIABLE text ERROR_VARIABLE text)
if(status)
  file(REMOVE ${OUTPUT})
  message(FATAL_ERROR "${SOURCE} does not compile for ${ARCH}:\n${text}")
endif()
if(LOG)
  file(WRITE ${LOG} "${text}")
endif()
