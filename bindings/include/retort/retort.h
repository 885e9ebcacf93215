/* retort.h   the whole CPU contract in one include; each family of operations has its own header. */
#ifndef RETORT_RETORT_H
#define RETORT_RETORT_H

#include "retort/base.h"

#include "retort/adam.h"
#include "retort/attention.h"
#include "retort/augment.h"
#include "retort/conv2d.h"
#include "retort/elementwise.h"
#include "retort/embedding.h"
#include "retort/group_norm.h"
#include "retort/layer_norm.h"
#include "retort/layout.h"
#include "retort/matmul.h"
#include "retort/memory.h"
#include "retort/mmd.h"
#include "retort/pool.h"
#include "retort/random.h"
#include "retort/reduction.h"
#include "retort/resample.h"
#include "retort/score_difference.h"
#include "retort/softmax.h"

#endif
