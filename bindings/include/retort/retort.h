/* retort.h   the whole CPU contract in one include; each family has its own header. */
#ifndef RETORT_RETORT_H
#define RETORT_RETORT_H

#include "retort/base.h"

#endif
