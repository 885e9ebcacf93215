# Runs a test program and shows what it printed only if it failed; runs as `cmake -D... -P test.cmake`.
#
# COMMAND  comma-separated             STAMP  touched when it passed

string(REPLACE "," ";" command "${COMMAND}")
execute_process(COMMAND ${command} RESULT_VARIABLE status OUTPUT_VARIABLE text ERROR_VARIABLE text)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${command} ended with ${status}:\n${text}")
endif()
file(TOUCH ${STAMP})
