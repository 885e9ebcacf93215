# Configures and builds the native side in one call; Maven runs it as `cmake -D... -P build.cmake`.
#
# SOURCE   repository root          BUILD    CMake's build directory
# ONEDNN   unpacked oneDNN jar      NATIVES  where libraries and their checksums go
# ISAS     comma-separated subset of avx512,avx2,base
# TARGETS  comma-separated architectures of the CUDA kernels: sm_80, compute_80, ...
# PREBUILT directory of compiled CUDA kernels for machines without nvcc, or empty

find_program(ninja ninja)
if(ninja)
  set(generator Ninja)
  set(parallel)
else()
  set(generator "Unix Makefiles")
  cmake_host_system_information(RESULT cores QUERY NUMBER_OF_LOGICAL_CORES)
  set(parallel --parallel ${cores})
endif()

string(REPLACE "," ";" isas "${ISAS}")
string(REPLACE "," ";" targets "${TARGETS}")
set(settings "${generator}\n${SOURCE}\n${ONEDNN}\n${NATIVES}\n${isas}\n${targets}\n${PREBUILT}\n")
set(previous "")
if(EXISTS "${BUILD}/settings.txt")
  file(READ "${BUILD}/settings.txt" previous)
endif()

# A configured tree re-runs CMake by itself when a CMake file or the list of sources changes.
if(NOT settings STREQUAL previous)
  execute_process(
    COMMAND ${CMAKE_COMMAND} -Wno-dev -S ${SOURCE} -B ${BUILD} -G ${generator} -DCMAKE_BUILD_TYPE=Release
            -DRETORT_ONEDNN=${ONEDNN} -DRETORT_NATIVES=${NATIVES} "-DRETORT_ISAS=${isas}"
            "-DRETORT_CUDA_TARGETS=${targets}" "-DRETORT_CUDA_PREBUILT=${PREBUILT}"
    RESULT_VARIABLE status)
  if(status)
    message(FATAL_ERROR "CMake could not configure the native build; the lines above say why.")
  endif()
  file(WRITE "${BUILD}/settings.txt" "${settings}")
endif()

execute_process(COMMAND ${CMAKE_COMMAND} --build ${BUILD} ${parallel} RESULT_VARIABLE status)
if(status)
  message(FATAL_ERROR "The native build failed; the compiler's lines above say why.")
endif()
