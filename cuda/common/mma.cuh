// mma.cuh   tensor-core products of one warp, the loads that feed them, and copies that run beside them
//
// Fragments, lane t with g = t / 4 and r = t % 4 (PTX ISA, "Matrix Fragments for mma.m16n8k16 / m16n8k8"):
//   m16n8k16 bf16   a0 (g, 2r 2r+1)  a1 (g+8, 2r 2r+1)  a2 (g, 2r+8 2r+9)  a3 (g+8, 2r+8 2r+9)   A is 16 x 16, packed pairs
//                   b0 (2r 2r+1, g)  b1 (2r+8 2r+9, g)                                          B is 16 x 8, packed pairs
//   m16n8k8 tf32    a0 (g, r)  a1 (g+8, r)  a2 (g, r+4)  a3 (g+8, r+4)   b0 (r, g)  b1 (r+4, g)  one float32 a register
//   both            d0 (g, 2r)  d1 (g, 2r+1)  d2 (g+8, 2r)  d3 (g+8, 2r+1)                       D is 16 x 8, float32
// All lanes of the warp must call. Memory given to rt_ldmatrix and rt_cp_async is 16-byte aligned.
#pragma once

#include "common/simt.cuh"

#if defined(__CUDACC__)

__device__ __forceinline__ unsigned rt_shared_address(const void* p) {
  return static_cast<unsigned>(__cvta_generic_to_shared(p));
}

// d += a b
__device__ __forceinline__ void rt_mma_bf16_16816(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// d += a b; of each float32 in a and b only the upper 19 bits count, see rt_to_tf32
__device__ __forceinline__ void rt_mma_tf32_1688(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// The nearest tf32, ties away from zero.
__device__ __forceinline__ std::uint32_t rt_to_tf32(float x) {
  std::uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
}

// Four 8 x 8 matrices of bf16 from shared memory: lane 8 i + j gives the address of row j of matrix i, and r[i] receives
// (t / 4, 2 (t % 4)) and its right neighbour of matrix i.
__device__ __forceinline__ void rt_ldmatrix_x4(std::uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(rt_shared_address(row))
               : "memory");
}

// The same with each matrix transposed: r[i] receives (2 (t % 4), t / 4) and the element below it.
__device__ __forceinline__ void rt_ldmatrix_x4_trans(std::uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(rt_shared_address(row))
               : "memory");
}

// Two matrices; lanes 0 to 15 give the addresses, those of the others are ignored.
__device__ __forceinline__ void rt_ldmatrix_x2(std::uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(rt_shared_address(row))
               : "memory");
}

__device__ __forceinline__ void rt_ldmatrix_x2_trans(std::uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(rt_shared_address(row))
               : "memory");
}

// Begins to copy 16 bytes from global to shared memory; where not `valid` it writes zeros and does not read.
__device__ __forceinline__ void rt_cp_async_16(void* shared, const void* global, bool valid = true) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :
               : "r"(rt_shared_address(shared)), "l"(__cvta_generic_to_global(global)), "r"(valid ? 16 : 0)
               : "memory");
}

// The same by way of the L1 cache: for what other threads of the multiprocessor read again soon.
__device__ __forceinline__ void rt_cp_async_16_cached(void* shared, const void* global, bool valid = true) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;"
               :
               : "r"(rt_shared_address(shared)), "l"(__cvta_generic_to_global(global)), "r"(valid ? 16 : 0)
               : "memory");
}

// The same for 4 bytes, of any 4-byte alignment.
__device__ __forceinline__ void rt_cp_async_4(void* shared, const void* global, bool valid = true) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;"
               :
               : "r"(rt_shared_address(shared)), "l"(__cvta_generic_to_global(global)), "r"(valid ? 4 : 0)
               : "memory");
}

// Ends a group of copies.
__device__ __forceinline__ void rt_cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most N of this thread's groups are under way. Other threads see the data after the next barrier.
template <int N>
__device__ __forceinline__ void rt_cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

#else

#include "emulator/mma.h"

#endif

// x = big + small to 2^-22: three tf32 products of such pairs give a float32 product (3xTF32).
__device__ __forceinline__ void rt_split_tf32(float x, std::uint32_t& big, std::uint32_t& small) {
  big = rt_to_tf32(x);
  small = rt_to_tf32(x - __uint_as_float(big));
}
