// probe.cu   small kernels that show what the emulator does right and what it detects; not part of the product
// shapes    one block unless said otherwise; see probe_test.cpp for what each must give
// launch    as in probe_test.cpp
// numerics  none of interest
// traffic   a few KB
// measured  not measured yet
// spills    none
// limits    for tests
// source    PTX ISA for the fragments

#include "common/mma.cuh"
#include "common/reduce.cuh"
#include "common/rng.cuh"
#include "common/simt.cuh"
#include "common/vec.cuh"

struct rt_probe_struct {
  std::int32_t first;
  double second;
};

// Parameters of every size, to check offsets; out = the sum of all.
RT_KERNEL(rt_probe_parameters, (std::int8_t a, std::int64_t b, float c, rt_probe_struct d, std::int16_t e, double* out)) {
  if (threadIdx.x == 0) {
    *out = static_cast<double>(a) + static_cast<double>(b) + static_cast<double>(c) + d.first + d.second + e;
  }
}

// Does nothing: what a launch alone costs.
RT_KERNEL(rt_probe_nothing, ()) {}

// Reverses a block's elements through shared memory.
RT_KERNEL(rt_probe_reverse, (const float* __restrict__ x, float* __restrict__ out)) {
  RT_DYNAMIC_SHARED(float, shared);
  shared[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  out[threadIdx.x] = shared[blockDim.x - 1 - threadIdx.x];
}

// The same without the barrier: wrong in most fiber orders.
RT_KERNEL(rt_probe_race, (const float* __restrict__ x, float* __restrict__ out)) {
  RT_DYNAMIC_SHARED(float, shared);
  shared[threadIdx.x] = x[threadIdx.x];
  out[threadIdx.x] = shared[blockDim.x - 1 - threadIdx.x];
}

// Half of each warp waits for the block, the other half for its warp: nobody goes on.
RT_KERNEL(rt_probe_divergent, (float* out)) {
  if (rt_lane() < 16) {
    __syncthreads();
  } else {
    __syncwarp();
  }
  out[threadIdx.x] = 1.0f;
}

// Two halves wait at two barriers, which the hardware takes for one.
RT_KERNEL(rt_probe_two_barriers, (float* out)) {
  if (threadIdx.x < blockDim.x / 2) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  out[threadIdx.x] = 1.0f;
}

// Threads that end are no longer waited for.
RT_KERNEL(rt_probe_early_exit, (float* out)) {
  if (threadIdx.x % 3 == 1) {
    return;
  }
  __syncthreads();
  out[threadIdx.x] = static_cast<float>(__popc(__ballot_sync(RT_FULL_WARP, 1)));
}

// out: xor, up, down, indexed, width 8, ballot of odd lanes, any, all; 8 rows of 32.
RT_KERNEL(rt_probe_shuffles, (int* __restrict__ out)) {
  const int lane = rt_lane();
  out[lane] = __shfl_xor_sync(RT_FULL_WARP, lane, 5);
  out[32 + lane] = __shfl_up_sync(RT_FULL_WARP, lane, 3);
  out[64 + lane] = __shfl_down_sync(RT_FULL_WARP, lane, 3);
  out[96 + lane] = __shfl_sync(RT_FULL_WARP, lane, 7);
  out[128 + lane] = __shfl_down_sync(RT_FULL_WARP, lane, 1, 8);
  out[160 + lane] = static_cast<int>(__ballot_sync(RT_FULL_WARP, lane & 1));
  out[192 + lane] = __any_sync(RT_FULL_WARP, lane == 31) + 2 * __any_sync(RT_FULL_WARP, lane == 32);
  // Each half of the warp meets for itself.
  const unsigned half = lane < 16 ? 0x0000ffffu : 0xffff0000u;
  out[224 + lane] = __all_sync(half, lane < 16) + 2 * __shfl_xor_sync(half, lane, 1);
}

// out = (sum, maximum) over the block of x, written by every thread.
RT_KERNEL_BOUNDS(rt_probe_reduce, 1024, (const float* __restrict__ x, float* __restrict__ out)) {
  const float value = x[threadIdx.x];
  const float sum = rt_block_sum(value);
  const float most = rt_block_max(value);
  out[2 * threadIdx.x] = sum;
  out[2 * threadIdx.x + 1] = most;
}

// Integer and float sums by atomics; the last thread of the grid to arrive writes how many came.
RT_KERNEL(rt_probe_atomics, (int* sum, float* total, unsigned* arrived, int* last)) {
  atomicAdd(sum, static_cast<int>(threadIdx.x));
  atomicAdd(total, 1.0f);
  __threadfence();
  if (atomicInc(arrived, gridDim.x * blockDim.x - 1) == gridDim.x * blockDim.x - 1) {
    *last = *sum;
  }
}

// d (16,8) = a (16,16) b (16,8), a row-major and b column-major bf16, through ldmatrix; one warp.
RT_KERNEL(rt_probe_mma_bf16, (const rt_bf16* __restrict__ a, const rt_bf16* __restrict__ b, float* __restrict__ d)) {
  RT_SHARED(rt_bf16[16][24], tile_a);
  RT_SHARED(rt_bf16[8][24], tile_b);
  const int lane = rt_lane();
  rt_cp_async_16(&tile_a[lane / 2][lane % 2 * 8], a + lane * 8);
  rt_cp_async_commit();
  rt_cp_async_16(&tile_b[lane % 16 / 2][lane % 2 * 8], b + lane % 16 * 8);
  rt_cp_async_commit();
  rt_cp_async_wait<0>();
  __syncwarp();
  std::uint32_t fragment_a[4];
  std::uint32_t fragment_b[2];
  rt_ldmatrix_x4(fragment_a, &tile_a[lane % 16][lane / 16 * 8]);
  rt_ldmatrix_x2(fragment_b, &tile_b[lane % 8][lane / 8 % 2 * 8]);
  float sums[4] = {0, 0, 0, 0};
  rt_mma_bf16_16816(sums, fragment_a, fragment_b);
  const int row = lane / 4;
  const int column = lane % 4 * 2;
  d[row * 8 + column] = sums[0];
  d[row * 8 + column + 1] = sums[1];
  d[(row + 8) * 8 + column] = sums[2];
  d[(row + 8) * 8 + column + 1] = sums[3];
}

// The same product with b row-major (16,8) in memory, transposed while loading.
RT_KERNEL(rt_probe_mma_trans, (const rt_bf16* __restrict__ a, const rt_bf16* __restrict__ b, float* __restrict__ d)) {
  RT_SHARED(rt_bf16[16][16], tile_a);
  RT_SHARED(rt_bf16[16][8], tile_b);
  const int lane = rt_lane();
  rt_store_raw<8>(&tile_a[lane / 2][lane % 2 * 8], rt_load_raw<8>(a + lane * 8));
  if (lane < 16) {
    rt_store_raw<8>(&tile_b[lane][0], rt_load_raw<8>(b + lane * 8));
  }
  __syncwarp();
  std::uint32_t fragment_a[4];
  std::uint32_t fragment_b[2];
  rt_ldmatrix_x4(fragment_a, &tile_a[lane % 16][lane / 16 * 8]);
  rt_ldmatrix_x2_trans(fragment_b, &tile_b[lane % 16][0]);
  float sums[4] = {0, 0, 0, 0};
  rt_mma_bf16_16816(sums, fragment_a, fragment_b);
  const int row = lane / 4;
  const int column = lane % 4 * 2;
  d[row * 8 + column] = sums[0];
  d[row * 8 + column + 1] = sums[1];
  d[(row + 8) * 8 + column] = sums[2];
  d[(row + 8) * 8 + column + 1] = sums[3];
}

// d (16,8) = a (16,8) b (8,8), float32 by three tf32 products; one warp.
RT_KERNEL(rt_probe_mma_tf32, (const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ d)) {
  const int row = rt_lane() / 4;
  const int column = rt_lane() % 4;
  const float mine_a[4] = {a[row * 8 + column], a[(row + 8) * 8 + column], a[row * 8 + column + 4],
                           a[(row + 8) * 8 + column + 4]};
  const float mine_b[2] = {b[column * 8 + row], b[(column + 4) * 8 + row]};
  std::uint32_t big_a[4];
  std::uint32_t small_a[4];
  std::uint32_t big_b[2];
  std::uint32_t small_b[2];
#pragma unroll
  for (int i = 0; i < 4; i++) {
    rt_split_tf32(mine_a[i], big_a[i], small_a[i]);
  }
#pragma unroll
  for (int i = 0; i < 2; i++) {
    rt_split_tf32(mine_b[i], big_b[i], small_b[i]);
  }
  float sums[4] = {0, 0, 0, 0};
  rt_mma_tf32_1688(sums, small_a, big_b);
  rt_mma_tf32_1688(sums, big_a, small_b);
  rt_mma_tf32_1688(sums, big_a, big_b);
  d[row * 8 + 2 * column] = sums[0];
  d[row * 8 + 2 * column + 1] = sums[1];
  d[(row + 8) * 8 + 2 * column] = sums[2];
  d[(row + 8) * 8 + 2 * column + 1] = sums[3];
}

// Reads what cp.async brings before waiting for it.
RT_KERNEL(rt_probe_copy_unwaited, (const float* __restrict__ x, float* __restrict__ out)) {
  RT_SHARED(float[128], shared);
  rt_cp_async_16(&shared[4 * threadIdx.x], x + 4 * threadIdx.x);
  rt_cp_async_commit();
  out[threadIdx.x] = shared[4 * threadIdx.x];
  rt_cp_async_wait<0>();
}

// Writes one element behind a global array, before it, behind a shared array, to an address that is not aligned.
RT_KERNEL(rt_probe_write, (float* out, std::int64_t index)) { out[index] = 1.0f; }

RT_KERNEL(rt_probe_shared_overflow, (float* out, int index)) {
  RT_SHARED(float[32], shared);
  shared[index] = 1.0f;
  out[threadIdx.x] = shared[threadIdx.x];
}

RT_KERNEL(rt_probe_misaligned, (const float* x, float* out)) {
  float v[4];
  rt_load(x + 1, v);
  rt_store(out, v);
}

// Shared and dynamic shared memory as a block finds it.
RT_KERNEL(rt_probe_fresh_shared, (float* out)) {
  RT_SHARED(float[32], fixed);
  RT_DYNAMIC_SHARED(float, dynamic);
  out[threadIdx.x] = fixed[threadIdx.x];
  out[32 + threadIdx.x] = dynamic[threadIdx.x];
}

// Normals of the stream `key`, four a thread.
RT_KERNEL(rt_probe_normals, (rt_philox_key key, float* out)) {
  float v[4];
  rt_normals(key, threadIdx.x, v);
  rt_store(out + 4 * threadIdx.x, v);
}
