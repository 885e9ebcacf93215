// matmul.cu   c = a b + bias, batched, each operand as it is stored or transposed: products, dense layers and their gradients
// shapes    a (batch, m, k) stored so ("n") or as (batch, k, m) ("t"), b (batch, k, n) or (batch, n, k), c (batch, m, n); rows of
//           a and b are pitch_a and pitch_b elements apart, whole accesses of 16 bytes from an aligned address, with zeros from
//           the end of a row on; bias (n) f32 or null; parts (parts, batch, m, n) f32, or null where c is written
// launch    rt_matmul_LL_MxN: grid (tiles of c, parts of k, batch), 128 or 256 threads and (M + N) x 64 bytes x 4 slots of
//           dynamic shared memory as CudaTile.java says, 32 to 96 KB; the others: any one-dimensional grid of 256 threads
// numerics  as common/gemm.cuh: bf16 products are exact and summed in float32; float32 by 3xTF32, products to about 2^-22;
//           parts of k are added in ascending order by rt_sum_parts; an infinity among float32 operands gives NaN
// traffic   2 batch m n k FLOP, 798 TFLOP/s on an H100 in bf16; a tile of M x N takes 1/M + 1/N bytes a FLOP from L2, 7.0 TB/s
//           at 600 TFLOP/s for 128 x 256, about what L2 can give; mma.sync is said to reach 0.63 of an H100's tensor cores (Luo
//           et al. 2024, microbenchmarks): 400 to 480 TFLOP/s expected where m, n >= 256 and k >= 512. Below that one read of
//           a and one write of c bound, 0.8 of 3.0 TB/s expected. float32: a third of tf32's rate, 100 TFLOP/s at most
// measured  not measured yet
// spills    none
// limits    any extents; a launch takes 65535 matrices
// source    3xTF32: Ootomo & Yokota 2022, section 3; the rest is common/gemm.cuh

#include "common/gemm.cuh"

namespace {

constexpr int kSlots = 4;  // three tiles under way are 1 us of products, longer than memory takes to answer

// Part blockIdx.y of the product of matrix blockIdx.z: to `parts` in float32 if it is not null, else to c with the bias.
template <class T, rt_major A, rt_major B, int M, int N, int WarpM, int WarpN>
__device__ __forceinline__ void product(const T* a, const T* b, const float* bias, T* c, float* parts, std::int64_t m,
                                        std::int64_t n, std::int64_t k, std::int64_t pitch_a, std::int64_t pitch_b,
                                        std::int64_t k_of_part) {
  using Gemm = rt_gemm<T, A, B, M, N, WarpM, WarpN, kSlots>;
  constexpr bool a_along_k = A == rt_major::k;
  constexpr bool b_along_k = B == rt_major::k;
  RT_DYNAMIC_SHARED(std::byte, shared);
  const rt_tile_corner corner = rt_tile<Gemm>(blockIdx.x, m, n);
  const std::int64_t matrix = blockIdx.z;
  const std::int64_t first = blockIdx.y * k_of_part;
  const std::int64_t depth = max(min(k - first, k_of_part), std::int64_t{0});
  a += matrix * (a_along_k ? m : k) * pitch_a + (a_along_k ? corner.m * pitch_a + first : first * pitch_a + corner.m);
  b += matrix * (b_along_k ? n : k) * pitch_b + (b_along_k ? corner.n * pitch_b + first : first * pitch_b + corner.n);
  rt_dense_tiles<T, typename Gemm::operand_a, Gemm::threads> tiles_a(a, pitch_a, m - corner.m, depth);
  rt_dense_tiles<T, typename Gemm::operand_b, Gemm::threads> tiles_b(b, pitch_b, n - corner.n, depth);
  Gemm gemm;
  gemm.run(shared, static_cast<int>((depth + Gemm::depth - 1) / Gemm::depth), [&](std::byte* to_a, std::byte* to_b) {
    tiles_a.copy(to_a);
    tiles_b.copy(to_b);
  });
  const auto same = [](std::int64_t row) { return row; };
  if (parts != nullptr) {
    float* const part = parts + (blockIdx.y * std::int64_t{gridDim.z} + matrix) * m * n;
    gemm.store(shared, rt_matrix_out<float>{part, nullptr, m, n}, corner, same);
  } else {
    gemm.store(shared, rt_matrix_out<T>{c + matrix * m * n, bias, m, n}, corner, same);
  }
}

// out (rows, pitch) = x (rows, columns), with zeros from `columns` on; a thread writes 16 bytes.
template <class In, class Out>
__device__ __forceinline__ void pack_rows(const In* __restrict__ x, Out* __restrict__ out, std::int64_t rows,
                                          std::int64_t columns, std::int64_t pitch) {
  constexpr int N = RT_WIDTH<Out>;
  const std::int64_t packs = pitch / N;
  const bool whole = columns == pitch && rt_aligned(x);
  for (std::int64_t i = rt_global_thread(); i < rows * packs; i += rt_global_threads()) {
    const std::int64_t row = i / packs;
    const std::int64_t column = i % packs * N;
    const In* const from = x + row * columns + column;
    float v[N];
    if (whole) {
      rt_load(from, v);
    } else {
#pragma unroll
      for (int e = 0; e < N; e++) {
        v[e] = column + e < columns ? rt_load(from + e) : 0.0f;
      }
    }
    rt_store(out + i * N, v);
  }
}

// out_i = bias_(i mod n) + the sum of parts_(s, i) over s, ascending.
template <int N, class T>
__device__ __forceinline__ void sum_parts(const float* __restrict__ parts, const float* __restrict__ bias,
                                          T* __restrict__ out, std::int64_t elements, std::int64_t n,
                                          std::int64_t count) {
  for (std::int64_t i = rt_global_thread(); i < elements / N; i += rt_global_threads()) {
    float sum[N];
    rt_load(parts + i * N, sum);
#pragma unroll 8
    for (std::int64_t part = 1; part < count; part++) {
      float v[N];
      rt_load(parts + part * elements + i * N, v);
#pragma unroll
      for (int e = 0; e < N; e++) {
        sum[e] += v[e];
      }
    }
    if (bias != nullptr) {
      float v[N];
      rt_load(bias + i * N % n, v);
#pragma unroll
      for (int e = 0; e < N; e++) {
        sum[e] += v[e];
      }
    }
    rt_store(out + i * N, sum);
  }
}

}  // namespace

#define RT_PRODUCT(layout, major_a, major_b, suffix, T, tile_m, tile_n, warp_m, warp_n)                                \
  RT_KERNEL_OCCUPANCY(rt_matmul_##layout##_##tile_m##x##tile_n##_##suffix,                                             \
                      32 * (tile_m / warp_m) * (tile_n / warp_n), 1,                                                   \
                      (const T* __restrict__ a, const T* __restrict__ b, const float* __restrict__ bias,               \
                       T* __restrict__ c, float* __restrict__ parts, std::int64_t m, std::int64_t n, std::int64_t k,   \
                       std::int64_t pitch_a, std::int64_t pitch_b, std::int64_t k_of_part)) {                          \
    product<T, rt_major::major_a, rt_major::major_b, tile_m, tile_n, warp_m, warp_n>(a, b, bias, c, parts, m, n, k,    \
                                                                                     pitch_a, pitch_b, k_of_part);     \
  }

#define RT_PRODUCTS(suffix, T, tile_m, tile_n, warp_m, warp_n)               \
  RT_PRODUCT(nn, k, mn, suffix, T, tile_m, tile_n, warp_m, warp_n)           \
  RT_PRODUCT(nt, k, k, suffix, T, tile_m, tile_n, warp_m, warp_n)            \
  RT_PRODUCT(tn, mn, mn, suffix, T, tile_m, tile_n, warp_m, warp_n)          \
  RT_PRODUCT(tt, mn, k, suffix, T, tile_m, tile_n, warp_m, warp_n)

RT_PRODUCTS(bf16, rt_bf16, 128, 256, 64, 64)
RT_PRODUCTS(bf16, rt_bf16, 128, 128, 64, 64)
RT_PRODUCTS(bf16, rt_bf16, 128, 64, 64, 32)
RT_PRODUCTS(bf16, rt_bf16, 64, 64, 32, 32)
RT_PRODUCTS(f32, float, 128, 128, 32, 64)
RT_PRODUCTS(f32, float, 64, 64, 32, 32)

#define RT_PACK_ROWS(suffix, In, Out)                                                                                  \
  RT_KERNEL(rt_pack_rows_##suffix, (const In* __restrict__ x, Out* __restrict__ out, std::int64_t rows,                \
                                    std::int64_t columns, std::int64_t pitch)) {                                       \
    pack_rows(x, out, rows, columns, pitch);                                                                           \
  }

RT_PACK_ROWS(f32_f32, float, float)
RT_PACK_ROWS(f32_bf16, float, rt_bf16)
RT_PACK_ROWS(bf16_bf16, rt_bf16, rt_bf16)

#define RT_SUM_PARTS(suffix, T)                                                                                        \
  RT_KERNEL_OCCUPANCY(rt_sum_parts_##suffix, 256, 1,                                                                   \
                      (const float* __restrict__ parts, const float* __restrict__ bias, T* __restrict__ out,           \
                       std::int64_t elements, std::int64_t n, std::int64_t count)) {                                   \
    if (elements % 4 == 0 && (bias == nullptr || n % 4 == 0) && rt_aligned(parts, bias, out)) {                        \
      sum_parts<4>(parts, bias, out, elements, n, count);                                                              \
    } else {                                                                                                           \
      sum_parts<1>(parts, bias, out, elements, n, count);                                                              \
    }                                                                                                                  \
  }

RT_SUM_PARTS(f32, float)
RT_SUM_PARTS(bf16, rt_bf16)
