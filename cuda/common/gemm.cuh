// gemm.cuh   one block's tile of C (M, N) = A (M, K) B (K, N): copies that run ahead, tensor-core products, results out
//
// Tiles are 64 bytes deep along k (32 bf16 or 16 float32) and wait in a ring of slots in shared memory, filled by cp.async
// while earlier ones are multiplied; one barrier a tile. 16-byte chunks are twisted by their row so that neither the copies
// nor the reads meet in a bank. bf16 multiplies as it is. float32 is three tf32 products (3xTF32), summed from zero in each
// step and then added in float32, because a tensor core truncates its running sum and an adder rounds it.
//
// What is where: rt_operand, a tile in shared memory and its fragments; rt_dense_tiles, the copies of an ordinary matrix;
// rt_gemm, the main loop over any object that copies tiles, and the ways out. An implicit operand (a convolution's patches)
// brings its own copies.
#pragma once

#include "common/mma.cuh"
#include "common/simt.cuh"
#include "common/vec.cuh"

// Whether neighbours in memory follow each other along k, or along m (of A) and n (of B).
enum class rt_major { k, mn };

// The tile of one operand in shared memory: `Extent` along m or n, of which a warp multiplies `Warp`.
//
// Along k a row is 4 chunks, and 8 rows at one chunk cover the 32 banks if chunks are exchanged by bits 1 and 2 of the row.
// Along m or n a row is one k; ldmatrix reads 8 rows at one chunk (bf16), single loads 4 rows at 2 chunks (float32).
template <class T, rt_major Major, int Extent, int Warp>
struct rt_operand {
  static constexpr bool along_k = Major == rt_major::k;
  static constexpr bool halves = sizeof(T) == 2;
  static constexpr int width = RT_WIDTH<T>;        // elements of a chunk
  static constexpr int depth = 64 / sizeof(T);     // of the tile along k
  static constexpr int rows = along_k ? Extent : depth;
  static constexpr int chunks = along_k ? 4 : Extent / width;  // in a row
  static constexpr int pitch = 16 * chunks;
  static constexpr int bytes = rows * pitch;
  static_assert(Warp % 32 == 0 && Extent % Warp == 0, "a warp's origin must leave free the bits that fragments differ in");

  // Where a chunk lies, in bytes from the start of the tile.
  static __device__ __forceinline__ int offset(int row, int chunk) {
    const int twist = along_k ? row >> 1 & 3 : halves ? row & 7 : (row & 3) << 1;
    return row * pitch + 16 * (chunk ^ twist);
  }

  // Where this lane's share of the first fragment of A lies, of the warp whose rows begin at `first`. The other fragments
  // follow by whole rows, and by exchanging bits of the chunk that are zero in `first`.
  static __device__ __forceinline__ int origin_a(int first) {
    const int lane = rt_lane();
    if constexpr (along_k) {
      return offset(first + lane % 16, lane / 16);
    } else if constexpr (halves) {
      return offset(lane / 16 * 8 + lane % 8, first / 8 + lane / 8 % 2);
    } else {
      return offset(lane % 4, (first + lane / 4) / 4) + lane / 4 % 4 * 4;
    }
  }

  static __device__ __forceinline__ int origin_b(int first) {
    const int lane = rt_lane();
    if constexpr (along_k) {
      return offset(first + lane / 16 * 8 + lane % 8, lane / 8 % 2);
    } else if constexpr (halves) {
      return offset(lane / 8 % 2 * 8 + lane % 8, first / 8 + lane / 16);
    } else {
      return origin_a(first);
    }
  }

  // The fragments of A for step 0 or 1 of the tile, a step being 32 bytes along k.
  static __device__ __forceinline__ void read_a(const std::byte* tile, int origin, int step,
                                                std::uint32_t (&a)[Warp / 16][4]) {
#pragma unroll
    for (int i = 0; i < Warp / 16; i++) {
      if constexpr (along_k) {
        rt_ldmatrix_x4(a[i], tile + (origin ^ 32 * step) + 16 * i * pitch);
      } else if constexpr (halves) {
        rt_ldmatrix_x4_trans(a[i], tile + (origin ^ 32 * i) + 16 * step * pitch);
      } else {
#pragma unroll
        for (int j = 0; j < 4; j++) {
          const int at = (origin ^ (64 * (i % 2) + 32 * (j % 2))) + 128 * (i / 2);
          a[i][j] = word(tile + at + (8 * step + 4 * (j / 2)) * pitch);
        }
      }
    }
  }

  static __device__ __forceinline__ void read_b(const std::byte* tile, int origin, int step,
                                                std::uint32_t (&b)[Warp / 8][2]) {
    if constexpr (!along_k && !halves) {
#pragma unroll
      for (int i = 0; i < Warp / 8; i++) {
        const int at = (origin ^ 32 * (i % 4)) + 128 * (i / 4);
        b[i][0] = word(tile + at + 8 * step * pitch);
        b[i][1] = word(tile + at + (8 * step + 4) * pitch);
      }
    } else {
#pragma unroll
      for (int i = 0; i < Warp / 16; i++) {
        std::uint32_t pair[4];
        if constexpr (along_k) {
          rt_ldmatrix_x4(pair, tile + (origin ^ 32 * step) + 16 * i * pitch);
        } else {
          rt_ldmatrix_x4_trans(pair, tile + (origin ^ 32 * i) + 16 * step * pitch);
        }
        b[2 * i][0] = pair[0];
        b[2 * i][1] = pair[1];
        b[2 * i + 1][0] = pair[2];
        b[2 * i + 1][1] = pair[3];
      }
    }
  }

 private:
  static __device__ __forceinline__ std::uint32_t word(const std::byte* p) {
    return *reinterpret_cast<const std::uint32_t*>(p);
  }
};

// Copies an ordinary matrix tile after tile along k. Its rows are `pitch` elements apart and, like its address, aligned to
// 16 bytes; what lies between the matrix and the next chunk's end is read where rows are along k, and must then be zero.
template <class T, class Operand, int Threads>
class rt_dense_tiles {
 public:
  // `corner` is the first tile's first element; `extent` and `k` count what is left of the matrix from there on.
  __device__ __forceinline__ rt_dense_tiles(const T* corner, std::int64_t pitch, std::int64_t extent, std::int64_t k) {
    const int row = static_cast<int>(threadIdx.x) / Operand::chunks;
    const int chunk = static_cast<int>(threadIdx.x) % Operand::chunks;
    at_ = corner + row * pitch + chunk * Operand::width;
    between_ = kBetween * pitch;
    to_ = Operand::offset(row, chunk);
    const std::int64_t along = k - (Operand::along_k ? chunk * Operand::width : row);
    const std::int64_t across = extent - (Operand::along_k ? row : chunk * Operand::width);
    k_ = static_cast<int>(min(along, std::int64_t{0x7fffffff}));
    extent_ = static_cast<int>(min(across, std::int64_t{Operand::rows * Operand::chunks * Operand::width}));
    step_ = Operand::along_k ? std::int64_t{Operand::depth} : Operand::depth * pitch;
  }

  // Begins to copy the next tile; outside the matrix it is zero.
  __device__ __forceinline__ void copy(std::byte* tile) {
#pragma unroll
    for (int i = 0; i < Operand::rows / kBetween; i++) {
      const int row = i * kBetween;
      const bool inside = Operand::along_k ? row < extent_ && 0 < k_ : 0 < extent_ && row < k_;
      rt_cp_async_16(tile + to_ + row * Operand::pitch, at_ + i * between_, inside);
    }
    at_ += step_;
    k_ -= Operand::depth;
  }

 private:
  static constexpr int kBetween = Threads / Operand::chunks;  // rows between a thread's chunks
  static_assert(kBetween % 8 == 0, "a thread's rows must all be twisted alike");

  const T* at_;
  std::int64_t between_, step_;
  int to_, k_, extent_;
};

// Where the results of a product go: `m` rows of `n` elements without gaps, plus `bias`, n numbers, if it is not null.
template <class T>
struct rt_matrix_out {
  T* at;
  const float* bias;
  std::int64_t m, n;
};

// The tile that a block takes, as the first row and column of it. Blocks that follow each other take eight tiles below
// each other, then the eight to the right: they share rows of A and columns of B in the cache.
struct rt_tile_corner {
  std::int64_t m, n;
};

template <class Gemm>
__device__ __forceinline__ rt_tile_corner rt_tile(unsigned index, std::int64_t m, std::int64_t n) {
  constexpr unsigned kGroup = 8;
  const auto down = static_cast<unsigned>((m + Gemm::m - 1) / Gemm::m);
  const auto right = static_cast<unsigned>((n + Gemm::n - 1) / Gemm::n);
  const unsigned group = index / (kGroup * right);
  const unsigned inside = index % (kGroup * right);
  const unsigned height = min(kGroup, down - group * kGroup);
  return {(std::int64_t{group} * kGroup + inside % height) * Gemm::m, std::int64_t{inside / height} * Gemm::n};
}

// The product of one block. `Slots` tiles of A and B in shared memory, `shared_bytes` of them in all.
template <class T, rt_major MajorA, rt_major MajorB, int M, int N, int WarpM, int WarpN, int Slots>
class rt_gemm {
 public:
  static constexpr int m = M;
  static constexpr int n = N;
  static constexpr int threads = 32 * (M / WarpM) * (N / WarpN);
  static constexpr int shared_bytes = Slots * (M + N) * 64;
  using type = T;
  using operand_a = rt_operand<T, MajorA, M, WarpM>;
  using operand_b = rt_operand<T, MajorB, N, WarpN>;
  static constexpr int depth = operand_a::depth;

  __device__ __forceinline__ rt_gemm() {
#pragma unroll
    for (int i = 0; i < kA; i++) {
#pragma unroll
      for (int j = 0; j < kB; j++) {
#pragma unroll
        for (int e = 0; e < 4; e++) {
          sums_[i][j][e] = 0.0f;
        }
      }
    }
  }

  // Multiplies `tiles` tiles, which copy(tile of A, tile of B) begins to copy one after the other.
  template <class Copy>
  __device__ __forceinline__ void run(std::byte* shared, int tiles, Copy copy) {
    const auto fill = [&](int tile) {
      if (tile < tiles) {
        std::byte* const slot = shared + tile % Slots * kSlotBytes;
        copy(slot, slot + operand_a::bytes);
      }
      rt_cp_async_commit();
    };
#pragma unroll
    for (int tile = 0; tile < Slots - 1; tile++) {
      fill(tile);
    }
    const int origin_a = operand_a::origin_a(first_row());
    const int origin_b = operand_b::origin_b(first_column());
    std::uint32_t a[2][kA][4];
    std::uint32_t b[2][kB][2];
    const auto read = [&](int tile, int step) {
      const std::byte* const slot = shared + tile % Slots * kSlotBytes;
      operand_a::read_a(slot, origin_a, step, a[step]);
      operand_b::read_b(slot + operand_a::bytes, origin_b, step, b[step]);
    };
    rt_cp_async_wait<Slots - 2>();
    __syncthreads();
    // A tile is filled into the slot of the one before the current one, which everybody has read before the last barrier.
    if constexpr (sizeof(T) == 2) {
      read(0, 0);
      for (int tile = 0; tile < tiles; tile++) {
        read(tile, 1);
        fill(tile + Slots - 1);
        multiply(a[0], b[0]);
        rt_cp_async_wait<Slots - 2>();
        __syncthreads();
        read(tile + 1, 0);  // behind the last tile: something that is not used
        multiply(a[1], b[1]);
      }
    } else {
      // Fragments ahead would not leave registers for both parts of the numbers.
      for (int tile = 0; tile < tiles; tile++) {
        fill(tile + Slots - 1);
        read(tile, 0);
        multiply(a[0], b[0]);
        read(tile, 1);
        multiply(a[1], b[1]);
        rt_cp_async_wait<Slots - 2>();
        __syncthreads();
      }
    }
  }

  // This thread's sums, for those who go on computing with them: element e of [i][j] belongs to row row_of(i, e) and column
  // column_of(j, e) of the block's tile.
  static constexpr int fragments_m = WarpM / 16;
  static constexpr int fragments_n = WarpN / 8;
  __device__ __forceinline__ float (&sums())[fragments_m][fragments_n][4] { return sums_; }
  static __device__ __forceinline__ int row_of(int i, int e) { return first_row() + 16 * i + e / 2 * 8 + rt_lane() / 4; }
  static __device__ __forceinline__ int column_of(int j, int e) {
    return first_column() + 8 * j + rt_lane() % 4 * 2 + e % 2;
  }

  // Writes the sums as `out` wants them. The block's tile begins at (corner.m, corner.n); row i of the product is row
  // row_of(i) of `out`. Overwrites `shared`.
  template <class Out, class RowOf>
  __device__ __forceinline__ void store(std::byte* shared, const rt_matrix_out<Out>& out, rt_tile_corner corner,
                                        RowOf row_of) {
    if constexpr (sizeof(Out) == 2) {
      store_halves(shared, out, corner, row_of);
    } else {
      store_floats(out, corner, row_of);
    }
  }

 private:
  static constexpr int kA = WarpM / 16;  // fragments of a warp
  static constexpr int kB = WarpN / 8;
  static constexpr int kSlotBytes = (M + N) * 64;
  static constexpr int kWarpsN = N / WarpN;
  static_assert(kB == 4 || kB == 8, "a row of results must be 64 or 128 bytes");
  static_assert(shared_bytes >= 2 * M * N || sizeof(T) != 2, "the results must fit where the tiles were");

  static __device__ __forceinline__ int first_row() { return rt_warp() / kWarpsN * WarpM; }
  static __device__ __forceinline__ int first_column() { return rt_warp() % kWarpsN * WarpN; }

  __device__ __forceinline__ void multiply(const std::uint32_t (&a)[kA][4], const std::uint32_t (&b)[kB][2]) {
    if constexpr (sizeof(T) == 2) {
#pragma unroll
      for (int i = 0; i < kA; i++) {
#pragma unroll
        for (int j = 0; j < kB; j++) {
          rt_mma_bf16_16816(sums_[i][j], a[i], b[j]);
        }
      }
    } else {
      multiply_split(a, b);
    }
  }

  // x = big + small with 11 bits each: big is rounded, so small has at most 12 bits, of which the tensor core drops the
  // last, 2^-24 of x. The product of two small parts is dropped too, 2^-22 of the whole.
  static __device__ __forceinline__ void split(std::uint32_t bits, std::uint32_t& big, std::uint32_t& small) {
    const float x = __uint_as_float(bits);
    big = rt_to_tf32(x);
    small = __float_as_uint(x - __uint_as_float(big));
  }

  __device__ __forceinline__ void multiply_split(const std::uint32_t (&a)[kA][4], const std::uint32_t (&b)[kB][2]) {
    std::uint32_t big_a[kA][4];
    std::uint32_t small_a[kA][4];
#pragma unroll
    for (int i = 0; i < kA; i++) {
#pragma unroll
      for (int e = 0; e < 4; e++) {
        split(a[i][e], big_a[i][e], small_a[i][e]);
      }
    }
#pragma unroll
    for (int j = 0; j < kB; j++) {
      std::uint32_t big_b[2];
      std::uint32_t small_b[2];
      split(b[j][0], big_b[0], small_b[0]);
      split(b[j][1], big_b[1], small_b[1]);
#pragma unroll
      for (int i = 0; i < kA; i++) {
        float step[4] = {0.0f, 0.0f, 0.0f, 0.0f};
        rt_mma_tf32_1688(step, small_a[i], big_b);
        rt_mma_tf32_1688(step, big_a[i], small_b);
        rt_mma_tf32_1688(step, big_a[i], big_b);
#pragma unroll
        for (int e = 0; e < 4; e++) {
          sums_[i][j][e] += step[e];
        }
      }
    }
  }

  // The two neighbours of `bias` that belong to a lane's columns.
  static __device__ __forceinline__ float2 bias_of(const float* bias, std::int64_t column, std::int64_t n) {
    return make_float2(bias != nullptr && column < n ? bias[column] : 0.0f,
                       bias != nullptr && column + 1 < n ? bias[column + 1] : 0.0f);
  }

  // Straight from the fragments: four lanes write 32 bytes of a row.
  template <class RowOf>
  __device__ __forceinline__ void store_floats(const rt_matrix_out<float>& out, rt_tile_corner corner, RowOf row_of) {
    const bool pairs = out.n % 2 == 0 && (reinterpret_cast<std::uintptr_t>(out.at) & 7u) == 0;
    const std::int64_t column = corner.n + first_column() + rt_lane() % 4 * 2;
#pragma unroll
    for (int i = 0; i < kA; i++) {
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const std::int64_t row = corner.m + first_row() + 16 * i + 8 * half + rt_lane() / 4;
        if (row < out.m) {
          float* const to = out.at + row_of(row) * out.n + column;
#pragma unroll
          for (int j = 0; j < kB; j++) {
            const std::int64_t n0 = column + 8 * j;
            const float2 bias = bias_of(out.bias, n0, out.n);
            const float v[2] = {sums_[i][j][2 * half] + bias.x, sums_[i][j][2 * half + 1] + bias.y};
            if (pairs && n0 < out.n) {
              rt_store(to + 8 * j, v);
            } else if (n0 < out.n) {
              to[8 * j] = v[0];
              if (n0 + 1 < out.n) {
                to[8 * j + 1] = v[1];
              }
            }
          }
        }
      }
    }
  }

  // By way of the warp's own part of shared memory, so that whole chunks are written; a chunk is one fragment's row.
  template <class RowOf>
  __device__ __forceinline__ void store_halves(std::byte* shared, const rt_matrix_out<rt_bf16>& out,
                                               rt_tile_corner corner, RowOf row_of) {
    const auto place = [](int row, int chunk) {
      return row * WarpN * 2 + 16 * (chunk ^ (kB == 8 ? row & 7 : row >> 1 & 3));
    };
    __syncthreads();  // the last tile has been read
    std::byte* const mine = shared + rt_warp() * WarpM * WarpN * 2;
    const std::int64_t first = corner.n + first_column();
#pragma unroll
    for (int j = 0; j < kB; j++) {
      const float2 bias = bias_of(out.bias, first + 8 * j + rt_lane() % 4 * 2, out.n);
#pragma unroll
      for (int i = 0; i < kA; i++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
          const int row = 16 * i + 8 * half + rt_lane() / 4;
          *reinterpret_cast<std::uint32_t*>(mine + place(row, j) + rt_lane() % 4 * 4) =
              rt_pack_bf16(sums_[i][j][2 * half] + bias.x, sums_[i][j][2 * half + 1] + bias.y);
        }
      }
    }
    __syncwarp();
    const bool whole = out.n % 8 == 0 && rt_aligned(out.at);
    const int chunk = rt_lane() % kB;
    const std::int64_t column = first + 8 * chunk;
    for (int row = rt_lane() / kB; row < WarpM; row += 32 / kB) {
      const std::int64_t from = corner.m + first_row() + row;
      if (from < out.m && column < out.n) {
        const auto* const v = reinterpret_cast<const rt_bf16*>(mine + place(row, chunk));
        rt_bf16* const to = out.at + row_of(from) * out.n + column;
        if (whole) {  // as one type: a copy of an rt_pack becomes four stores here
          *reinterpret_cast<uint4*>(to) = *reinterpret_cast<const uint4*>(v);
        } else {
          for (int e = 0; e < 8 && column + e < out.n; e++) {
            to[e] = v[e];
          }
        }
      }
    }
  }

  float sums_[kA][kB][4];
};
