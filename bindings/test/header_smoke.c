/* Compiles every public header as plain C, twice: the contract needs no C++ and guards hold. */

#include "every_header.inc"
#include "every_header.inc"

#include "retort/retort.h"

rt_status rt_header_smoke(void);

rt_status rt_header_smoke(void) { return RT_OK; }
