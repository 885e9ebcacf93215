// attention.cu   out = softmax(q k^T / sqrt(d)) v  and its gradients, without the matrix of scores
// shapes    q, out, dout, dq (n, tq, heads, d)   k, v, dk, dv (n, tk, heads, d)   lse, drift (n, heads, tq) f32. Tokens of q and dq
//           are q_row elements apart, those of k, v, dk and dv kv_row; a head's d channels are dense. So q, k and v may be
//           blocks of one packed tensor. drift = dout . out of each token and head is written by rt_attention_drift
// launch    128 threads; grid.x = ceil(own tokens / rows) * heads * n, where the block's own tokens are queries (forward, dq) or
//           keys (dk, dv, dkv); grid.y = 1, of the _wide kernels ceil(d / 256). Kernels for d up to 32, 64, 128, 256 (the last
//           in bf16 only), _wide for any d. Rows: 128 in forward bf16 up to 128 and in backward bf16 up to 64, else 64.
//           Dynamic shared memory in KB, forward / backward: bf16 24/33, 48/65, 96/97, 64/98, wide 64/66; f32 40/49, 80/97,
//           64/98, wide 64/66 (see Tiling). rt_attention_drift: 256 threads, 32 (token, head) a block
// numerics  scores, softmax and sums in f32. bf16 multiplies bf16 (weights and their slopes are rounded to it); f32 is three tf32
//           products (3xTF32), each step summed from zero and added in f32, since a tensor core truncates its running sum.
//           Weights are recomputed from lse in backward. Every sum has one block and a fixed order; no atomics
// traffic   d = 256, n 64, t 256 in bf16: forward 4.3 GFLOP and 34 MB. Its 64 x 64 tiles read 1.1 times the shared memory that
//           the tensor cores wait for, at best 40 % of 798 TFLOP/s (13 us; 11 us at 3.0 TB/s). dq is 3 products, dk 3, dv 2, so
//           17 GFLOP backward, 55 us. d = 64, n 64, 6 heads, t 1024: forward 103 GFLOP, exponentials take as long as products:
//           330 TFLOP/s expected, 0.31 ms; backward 7 products, 360 GFLOP at 330, 1.1 ms
// measured  not measured yet
// spills    none
// limits    tq, tk, heads, d >= 1, any tail, tokens < 2^31; chunks of 16 bytes are copied asynchronously where d, rows and
//           addresses allow it, single elements otherwise
// source    retort/attention.h; Dao 2023 (FlashAttention-2), its backward pass cut by output instead of added up atomically

#include "common/mma.cuh"
#include "common/reduce.cuh"
#include "common/simt.cuh"
#include "common/vec.cuh"

namespace {

constexpr int kWarps = 4;
constexpr int kThreads = 32 * kWarps;
constexpr int kColumns = 64;  // tokens of a tile that passes by: eight products wide
constexpr int kSide = 2 * kColumns * static_cast<int>(sizeof(float));  // bytes of what belongs to columns: lse and drift
constexpr float kLog2E = 1.44269504f;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// How a block cuts its work. Its own tokens are the rows of the tiles of scores, 16 * Bands of them a warp; all other
// tokens pass by as columns. Both lie in shared memory in pages of up to 128 bytes of channels.
//
// Whole: a step of the pipeline brings a whole tile of columns, both operands of it, and the next one is on its way.
// Otherwise a step brings one page, and three are on their way. Resident: the rows stay in shared memory; otherwise their
// pages come along with those of the columns, `Width` bounds the channels of the output only, and grid.y has the others.
template <class T, int Width, int Bands, bool Whole, bool Resident>
struct Tiling {
  using type = T;
  static constexpr bool whole = Whole;
  static constexpr bool resident = Resident;
  static constexpr int width = Width;
  static constexpr int bands = Bands;
  static constexpr int rows = 16 * Bands * kWarps;
  static constexpr int pack = RT_WIDTH<T>;
  static constexpr int channels = Width * static_cast<int>(sizeof(T)) < 128 ? Width : 128 / static_cast<int>(sizeof(T));
  static constexpr int chunks = channels / pack;  // of 16 bytes, in a row of a page
  static constexpr int tiles = channels / 8;      // products wide
  static constexpr int pages = Width / channels;
  static constexpr int row_page = rows * chunks * 16;  // bytes
  static constexpr int page = kColumns * chunks * 16;
  static constexpr int slots = Whole ? 2 : 4;
  static constexpr int slot = Whole ? 2 * pages * page : Resident ? page : page + row_page;

  // Where a chunk lies, in bytes from the start of its page: eight rows at one chunk never meet in a bank.
  static __device__ __forceinline__ int place(int row, int chunk) {
    const int linear = row * chunks + chunk;
    return 16 * (linear ^ (linear >> 3 & (chunks == 8 ? 7 : 3)));
  }
};

// --- tokens in global memory -------------------------------------------------------------------------

// What a block computes: one head of one sample, its own tokens beginning at `first`.
struct Task {
  int sample, head, first;

  __device__ __forceinline__ Task(std::int64_t tokens, int rows, std::int64_t heads) {
    const auto tiles = static_cast<unsigned>((tokens + rows - 1) / rows);
    const unsigned item = blockIdx.x / tiles;
    sample = static_cast<int>(item / static_cast<unsigned>(heads));
    head = static_cast<int>(item % static_cast<unsigned>(heads));
    first = static_cast<int>(blockIdx.x % tiles) * rows;
  }

  __device__ __forceinline__ std::int64_t item(std::int64_t heads) const { return sample * heads + head; }
};

// The tokens of one head: the `width` channels of token t begin at start + t * stride.
template <class T>
struct Tokens {
  T* start;
  int stride, count, width;

  __device__ __forceinline__ Tokens(T* tensor, const Task& task, std::int64_t tokens, std::int64_t stride_, std::int64_t d)
      : start(tensor + task.sample * tokens * stride_ + task.head * d),
        stride(static_cast<int>(stride_)),
        count(static_cast<int>(tokens)),
        width(static_cast<int>(d)) {}

  // Whether they consist of aligned chunks of 16 bytes.
  __device__ __forceinline__ bool packed() const {
    constexpr int N = RT_WIDTH<std::remove_const_t<T>>;
    return rt_aligned(start) && stride % N == 0 && width % N == 0;
  }

  __device__ __forceinline__ bool has(int token, int channel) const { return token < count && channel < width; }
  __device__ __forceinline__ T* at(int token, int channel) const { return start + std::int64_t{token} * stride + channel; }
};

// Begins to copy one page of `Rows` tokens from `first` and of channels from `channel` on; what is not there becomes zero.
// `packed` may be false for tokens that are.
template <class X, int Rows>
__device__ __forceinline__ void load_page(std::byte* page, const Tokens<const typename X::type>& from, bool packed,
                                          int first, int channel) {
  using T = typename X::type;
  const int thread = static_cast<int>(threadIdx.x);
  if (packed) {
    constexpr int kBetween = kThreads / X::chunks;  // rows between the chunks of a thread
    const int row = thread / X::chunks;
    const int chunk = thread % X::chunks;
    const int at = channel + chunk * X::pack;
    const T* source = from.at(first + row, at);
    const int valid = at < from.width ? from.count - first - row : 0;
#pragma unroll 1
    for (int i = 0; i < Rows / kBetween; i++) {
      rt_cp_async_16(page + X::place(row + i * kBetween, chunk), source, i * kBetween < valid);
      source += std::int64_t{kBetween} * from.stride;
    }
  } else {
#pragma unroll 1
    for (int i = thread; i < Rows * X::channels; i += kThreads) {
      const int row = i / X::channels;
      const int at = i % X::channels;
      const bool there = from.has(first + row, channel + at);
      T* const to = reinterpret_cast<T*>(page + X::place(row, at / X::pack)) + at % X::pack;
      rt_store(to, there ? rt_load(from.at(first + row, channel + at)) : 0.0f);
    }
  }
}

// The pipeline: `steps` steps for each of `tiles` tiles go through `Slots` slots of shared memory, all but the one in use
// ahead of it. load(tile, step, slot) begins the copies of one step.
template <int Slots, int SlotBytes, class Load>
class Feed {
 public:
  __device__ __forceinline__ Feed(std::byte* ring, int tiles, int steps, Load load)
      : ring_(ring), tiles_(tiles), steps_(steps), load_(load) {
#pragma unroll
    for (int i = 0; i < Slots - 1; i++) {
      begin();
    }
  }

  // Where the next step lies in the ring; it has arrived, and the one before is given up.
  __device__ __forceinline__ int next() {
    rt_cp_async_wait<Slots - 2>();
    __syncthreads();
    begin();
    return begun_ % Slots * SlotBytes;  // begun Slots steps ago
  }

 private:
  __device__ __forceinline__ void begin() {
    if (tile_ < tiles_) {
      load_(tile_, step_, ring_ + begun_ % Slots * SlotBytes);
    }
    rt_cp_async_commit();
    begun_++;
    if (++step_ == steps_) {
      step_ = 0;
      tile_++;
    }
  }

  std::byte* ring_;
  int tiles_, steps_;
  Load load_;
  int tile_ = 0, step_ = 0;  // to be begun next
  int begun_ = 0;
};

template <int Slots, int SlotBytes, class Load>
__device__ __forceinline__ Feed<Slots, SlotBytes, Load> feed_of(std::byte* ring, int tiles, int steps, Load load) {
  return Feed<Slots, SlotBytes, Load>(ring, tiles, steps, load);
}

// --- products of a warp ------------------------------------------------------------------------------

// A left operand (16 rows x 32 bytes) and a right one (32 bytes x 8 columns) as the tensor core takes them.
template <class T>
struct Left;
template <class T>
struct Right;

template <>
struct Left<rt_bf16> {
  std::uint32_t bits[4];
  __device__ __forceinline__ void set(const std::uint32_t (&r)[4]) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      bits[i] = r[i];
    }
  }
};

template <>
struct Right<rt_bf16> {
  std::uint32_t bits[2];
  __device__ __forceinline__ Right(std::uint32_t first, std::uint32_t second) : bits{first, second} {}
};

// Float32 as the sum of two tf32.
template <>
struct Left<float> {
  std::uint32_t big[4], small[4];
  __device__ __forceinline__ void set(const std::uint32_t (&r)[4]) {
#pragma unroll
    for (int i = 0; i < 4; i++) {
      rt_split_tf32(__uint_as_float(r[i]), big[i], small[i]);
    }
  }
};

template <>
struct Right<float> {
  std::uint32_t big[2], small[2];
  __device__ __forceinline__ Right(std::uint32_t first, std::uint32_t second) {
    rt_split_tf32(__uint_as_float(first), big[0], small[0]);
    rt_split_tf32(__uint_as_float(second), big[1], small[1]);
  }
};

// sums += a b
__device__ __forceinline__ void multiply(float (&sums)[4], const Left<rt_bf16>& a, const Right<rt_bf16>& b) {
  rt_mma_bf16_16816(sums, a.bits, b.bits);
}

__device__ __forceinline__ void multiply(float (&sums)[4], const Left<float>& a, const Right<float>& b) {
  rt_mma_tf32_1688(sums, a.small, b.big);
  rt_mma_tf32_1688(sums, a.big, b.small);
  rt_mma_tf32_1688(sums, a.big, b.big);
}

// What a warp accumulates: 16 * Bands rows by 8 * Tiles columns or channels. Lane t has, in elements 0 and 1 of each tile,
// row t / 4 at 2 (t % 4) and its right neighbour; in 2 and 3 the same eight rows below.
template <int Bands, int Tiles>
using Sums = float[Bands][Tiles][4];

template <int Bands, int Tiles>
__device__ __forceinline__ void clear(Sums<Bands, Tiles>& sums) {
#pragma unroll
  for (int band = 0; band < Bands; band++) {
#pragma unroll
    for (int tile = 0; tile < Tiles; tile++) {
#pragma unroll
      for (int e = 0; e < 4; e++) {
        sums[band][tile][e] = 0.0f;
      }
    }
  }
}

// sums[from ..] += part
template <int Bands, int Tiles, int Part>
__device__ __forceinline__ void add(Sums<Bands, Tiles>& sums, const Sums<Bands, Part>& part, int from) {
#pragma unroll
  for (int band = 0; band < Bands; band++) {
#pragma unroll
    for (int tile = 0; tile < Part; tile++) {
#pragma unroll
      for (int e = 0; e < 4; e++) {
        sums[band][from + tile][e] += part[band][tile][e];
      }
    }
  }
}

// scores += (the warp's rows) (8 * Tiles columns from `first` on)^T, over the channels of one page of each.
template <class X, int Tiles>
__device__ __forceinline__ void multiply_rows(Sums<X::bands, Tiles>& scores, const std::byte* rows, const std::byte* columns,
                                           int first) {
  const int row = rt_warp() * 16 * X::bands + rt_lane() % 16;
  const int column = first + rt_lane() / 16 * 8 + rt_lane() % 8;
  // Float32 leaves no registers for the operands of a second step.
#pragma unroll(sizeof(typename X::type) == 2 && X::bands * X::width < 128 ? X::chunks / 2 : 1)
  for (int step = 0; step < X::chunks / 2; step++) {
    Left<typename X::type> left[X::bands];
#pragma unroll
    for (int band = 0; band < X::bands; band++) {
      std::uint32_t r[4];
      rt_ldmatrix_x4(r, rows + X::place(row + 16 * band, 2 * step + rt_lane() / 16));
      left[band].set(r);
    }
#pragma unroll
    for (int tile = 0; tile < Tiles; tile += 2) {
      std::uint32_t r[4];
      rt_ldmatrix_x4(r, columns + X::place(column + 8 * tile, 2 * step + rt_lane() / 8 % 2));
      const Right<typename X::type> even(r[0], r[1]);
      const Right<typename X::type> odd(r[2], r[3]);
#pragma unroll
      for (int band = 0; band < X::bands; band++) {
        multiply(scores[band][tile], left[band], even);
        multiply(scores[band][tile + 1], left[band], odd);
      }
    }
  }
}

// The same. A tensor core truncates its running sum where an adder rounds it, so float32 sums are those of pages added up.
template <class X, int Tiles>
__device__ __forceinline__ void add_scores(Sums<X::bands, Tiles>& scores, const std::byte* rows, const std::byte* columns,
                                           int first) {
  if constexpr (sizeof(typename X::type) == 2) {
    multiply_rows<X>(scores, rows, columns, first);
  } else {
    constexpr int kPart = 4;  // as many as there are registers for
#pragma unroll
    for (int tile = 0; tile < Tiles; tile += kPart) {
      Sums<X::bands, kPart> part;
      clear(part);
      multiply_rows<X>(part, rows, columns, first + 8 * tile);
      add(scores, part, tile);
    }
  }
}

// A function of the scores as the left operand of a product over their columns. A tile of scores already lies as the tensor
// core wants it: two of them side by side in bf16; in f32 with the columns in the order 0 2 4 6 1 3 5 7.
template <class T, int Bands, int Tiles>
class Weights;

template <int Bands, int Tiles>
class Weights<rt_bf16, Bands, Tiles> {
 public:
  static constexpr int columns = 16;  // of one step
  __device__ __forceinline__ void set(int band, int tile, const float (&w)[4]) {
    pairs_[band][tile / 2][tile % 2 * 2] = rt_pack_bf16(w[0], w[1]);
    pairs_[band][tile / 2][tile % 2 * 2 + 1] = rt_pack_bf16(w[2], w[3]);
  }
  __device__ __forceinline__ void left(int band, int step, Left<rt_bf16>& left) const { left.set(pairs_[band][step]); }

 private:
  std::uint32_t pairs_[Bands][Tiles / 2][4];
};

template <int Bands, int Tiles>
class Weights<float, Bands, Tiles> {
 public:
  static constexpr int columns = 8;
  __device__ __forceinline__ void set(int band, int tile, const float (&w)[4]) {
#pragma unroll
    for (int e = 0; e < 4; e++) {
      bits_[band][tile][e / 2 + e % 2 * 2] = __float_as_uint(w[e]);
    }
  }
  __device__ __forceinline__ void left(int band, int step, Left<float>& left) const { left.set(bits_[band][step]); }

 private:
  std::uint32_t bits_[Bands][Tiles][4];
};

// Two right operands: the tokens of one step, which begin at row `token` of the page, by 16 channels from tile `tile` on.
template <class X>
__device__ __forceinline__ void load_values(std::uint32_t (&r)[4], const std::byte* page, int token, int tile) {
  if constexpr (sizeof(typename X::type) == 2) {
    rt_ldmatrix_x4_trans(r, page + X::place(token + rt_lane() % 16, tile + rt_lane() / 16));
  } else {
    const int row = token + rt_lane() % 4 * 2;
    const int chunk = 2 * tile + rt_lane() / 16;
    const int word = rt_lane() / 4 % 4 * 4;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      r[i] = *reinterpret_cast<const std::uint32_t*>(page + X::place(row + i % 2, chunk + i / 2 * 2) + word);
    }
  }
}

// sums += weights (8 * Tiles tokens from `first` on), for the channels of one page.
template <class X, int Tiles>
__device__ __forceinline__ void multiply_values(Sums<X::bands, X::tiles>& sums,
                                           const Weights<typename X::type, X::bands, Tiles>& weights,
                                           const std::byte* page, int first) {
  constexpr int kStep = Weights<typename X::type, X::bands, Tiles>::columns;
#pragma unroll
  for (int step = 0; step < 8 * Tiles / kStep; step++) {
    Left<typename X::type> left[X::bands];
#pragma unroll
    for (int band = 0; band < X::bands; band++) {
      weights.left(band, step, left[band]);
    }
#pragma unroll
    for (int tile = 0; tile < X::tiles; tile += 2) {
      std::uint32_t r[4];
      load_values<X>(r, page, first + step * kStep, tile);
      const Right<typename X::type> even(r[0], r[1]);
      const Right<typename X::type> odd(r[2], r[3]);
#pragma unroll
      for (int band = 0; band < X::bands; band++) {
        multiply(sums[band][tile], left[band], even);
        multiply(sums[band][tile + 1], left[band], odd);
      }
    }
  }
}

// The same, with float32 sums as in add_scores.
template <class X, int Tiles>
__device__ __forceinline__ void add_values(Sums<X::bands, X::tiles>& sums,
                                           const Weights<typename X::type, X::bands, Tiles>& weights,
                                           const std::byte* page, int first) {
  if constexpr (sizeof(typename X::type) == 2) {
    multiply_values<X>(sums, weights, page, first);
  } else {
    Sums<X::bands, X::tiles> part;
    clear(part);
    multiply_values<X>(part, weights, page, first);
    add(sums, part, 0);
  }
}

// Scores of columns from `valid` on, which do not exist, become -inf.
template <int Bands, int Tiles>
__device__ __forceinline__ void mask(Sums<Bands, Tiles>& scores, int valid) {
#pragma unroll
  for (int tile = 0; tile < Tiles; tile++) {
#pragma unroll
    for (int e = 0; e < 4; e++) {
      if (8 * tile + rt_lane() % 4 * 2 + e % 2 >= valid) {
#pragma unroll
        for (int band = 0; band < Bands; band++) {
          scores[band][tile][e] = -kInfinity;
        }
      }
    }
  }
}

// Writes the warp's rows of all pages, times `factor`, by way of its own part of `stage`: whole chunks of neighbouring lanes.
template <class X>
__device__ __forceinline__ void store_rows(std::byte* stage, const Sums<X::bands, X::tiles> (&sums)[X::pages], float factor,
                                           const Tokens<typename X::type>& to, int first, int channel) {
  using T = typename X::type;
  const int own = rt_warp() * 16 * X::bands;
  __syncwarp();
#pragma unroll
  for (int page = 0; page < X::pages; page++) {
#pragma unroll
    for (int band = 0; band < X::bands; band++) {
#pragma unroll
      for (int tile = 0; tile < X::tiles; tile++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
          const int row = own + 16 * band + 8 * half + rt_lane() / 4;
          const int at = 8 * tile + rt_lane() % 4 * 2;
          const float pair[2] = {sums[page][band][tile][2 * half] * factor, sums[page][band][tile][2 * half + 1] * factor};
          rt_store(reinterpret_cast<T*>(stage + page * X::row_page + X::place(row, at / X::pack)) + at % X::pack, pair);
        }
      }
    }
  }
  __syncwarp();
  const bool packed = to.packed();
  constexpr int kChunks = X::pages * X::chunks;
  for (int i = rt_lane(); i < 16 * X::bands * kChunks; i += 32) {
    const int row = own + i / kChunks;
    const int chunk = i % kChunks;
    const int token = first + row;
    const int at = channel + chunk * X::pack;
    const auto* const from =
        reinterpret_cast<const T*>(stage + chunk / X::chunks * X::row_page + X::place(row, chunk % X::chunks));
    if (packed) {
      if (to.has(token, at)) {
        rt_store_raw<X::pack>(to.at(token, at), rt_load_raw<X::pack>(from));
      }
    } else {
      for (int e = 0; e < X::pack && to.has(token, at + e); e++) {
        *to.at(token, at + e) = from[e];
      }
    }
  }
}

// --- forward -----------------------------------------------------------------------------------------

// The softmax of a warp's rows so far. A lane's sums cover its own columns until finish().
template <class X>
class Softmax {
 public:
  __device__ __forceinline__ Softmax() {
#pragma unroll
    for (int i = 0; i < 2 * X::bands; i++) {
      top_[i] = -kInfinity;
      sum_[i] = 0.0f;
    }
  }

  // Turns scores into weights exp2(slope (score - top)), and multiplies `out` by what its old top is worth under the new.
  template <int Tiles>
  __device__ __forceinline__ void add(const Sums<X::bands, Tiles>& scores, float slope,
                                      Weights<typename X::type, X::bands, Tiles>& weights,
                                      Sums<X::bands, X::tiles> (&out)[X::pages]) {
#pragma unroll
    for (int band = 0; band < X::bands; band++) {
      float top[2];
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int i = 2 * band + half;
        float largest = top_[i];
#pragma unroll
        for (int tile = 0; tile < Tiles; tile++) {
          largest = fmaxf(largest, fmaxf(scores[band][tile][2 * half], scores[band][tile][2 * half + 1]));
        }
        largest = fmaxf(largest, __shfl_xor_sync(RT_FULL_WARP, largest, 1));
        largest = fmaxf(largest, __shfl_xor_sync(RT_FULL_WARP, largest, 2));
        const float fade = rt_exp2(slope * (top_[i] - largest));
        top_[i] = largest;
        top[half] = slope * largest;
        sum_[i] *= fade;
#pragma unroll
        for (int page = 0; page < X::pages; page++) {
#pragma unroll
          for (int tile = 0; tile < X::tiles; tile++) {
            out[page][band][tile][2 * half] *= fade;
            out[page][band][tile][2 * half + 1] *= fade;
          }
        }
      }
#pragma unroll
      for (int tile = 0; tile < Tiles; tile++) {
        float w[4];
#pragma unroll
        for (int e = 0; e < 4; e++) {
          w[e] = rt_exp2(fmaf(slope, scores[band][tile][e], -top[e / 2]));
          sum_[2 * band + e / 2] += w[e];
        }
        weights.set(band, tile, w);
      }
    }
  }

  // Divides `out` by the sums and writes the logarithms of the denominators of the rows that exist.
  __device__ __forceinline__ void finish(float scale, Sums<X::bands, X::tiles> (&out)[X::pages], float* lse, int first,
                                         int count) {
#pragma unroll
    for (int i = 0; i < 2 * X::bands; i++) {
      const float sum = rt_warp_sum<4>(sum_[i]);
      const float factor = 1.0f / sum;
#pragma unroll
      for (int page = 0; page < X::pages; page++) {
#pragma unroll
        for (int tile = 0; tile < X::tiles; tile++) {
          out[page][i / 2][tile][i % 2 * 2] *= factor;
          out[page][i / 2][tile][i % 2 * 2 + 1] *= factor;
        }
      }
      const int row = first + rt_warp() * 16 * X::bands + 8 * i + rt_lane() / 4;
      if (rt_lane() % 4 == 0 && row < count && blockIdx.y == 0) {
        lse[row] = fmaf(scale, top_[i], logf(sum));
      }
    }
  }

 private:
  float top_[2 * X::bands], sum_[2 * X::bands];  // of rows t / 4 + 8 i
};

template <class X>
__device__ __forceinline__ void forward(const typename X::type* q, const typename X::type* k, const typename X::type* v,
                                        typename X::type* out, float* lse, std::int64_t heads, std::int64_t tq,
                                        std::int64_t tk, std::int64_t d, std::int64_t q_row, std::int64_t kv_row,
                                        float scale) {
  using T = typename X::type;
  RT_DYNAMIC_SHARED(std::byte, shared);
  const Task task(tq, X::rows, heads);
  const Tokens<const T> queries(q, task, tq, q_row, d);
  const Tokens<const T> keys(k, task, tk, kv_row, d);
  const Tokens<const T> values(v, task, tk, kv_row, d);
  const int pages = X::resident ? X::pages : (keys.width + X::channels - 1) / X::channels;
  const int channel = static_cast<int>(blockIdx.y) * X::width;  // first of the output
  const bool packed = queries.packed() && keys.packed() && values.packed();
  if constexpr (X::resident) {
#pragma unroll
    for (int page = 0; page < X::pages; page++) {
      load_page<X, X::rows>(shared + page * X::row_page, queries, packed, task.first, page * X::channels);
    }
  }
  const auto load = [&](int tile, int step, std::byte* slot) {
    const int first = tile * kColumns;
    if constexpr (X::whole) {
#pragma unroll
      for (int page = 0; page < X::pages; page++) {
        load_page<X, kColumns>(slot + page * X::page, keys, packed, first, page * X::channels);
        load_page<X, kColumns>(slot + (X::pages + page) * X::page, values, packed, first, page * X::channels);
      }
    } else {
      const bool of_keys = step < pages;
      Tokens<const T> from = values;
      if (of_keys) {
        from = keys;
      }
      load_page<X, kColumns>(slot, from, packed, first, of_keys ? step * X::channels : channel + (step - pages) * X::channels);
      if (!X::resident && of_keys) {
        load_page<X, X::rows>(slot + X::page, queries, packed, task.first, step * X::channels);
      }
    }
  };
  const int tiles = (keys.count + kColumns - 1) / kColumns;
  std::byte* const ring = shared + (X::resident ? X::pages * X::row_page : 0);
  auto feed = feed_of<X::slots, X::slot>(ring, tiles, X::whole ? 1 : pages + X::pages, load);
  const bool active = task.first + rt_warp() * 16 * X::bands < queries.count;
  Sums<X::bands, X::tiles> sums[X::pages];
#pragma unroll
  for (int page = 0; page < X::pages; page++) {
    clear(sums[page]);
  }
  Softmax<X> softmax;
  for (int tile = 0; tile < tiles; tile++) {
    int slot = 0;
    if constexpr (X::whole) {
      slot = feed.next();
    }
    Sums<X::bands, kColumns / 8> scores;
    clear(scores);
#pragma unroll(X::whole ? X::pages : 1)
    for (int page = 0; page < pages; page++) {
      const std::byte* const columns = ring + (X::whole ? slot + page * X::page : feed.next());
      const std::byte* const rows = X::resident ? shared + page * X::row_page : columns + X::page;
      if (active) {
        add_scores<X>(scores, rows, columns, 0);
      }
    }
    Weights<T, X::bands, kColumns / 8> weights;
    if (active) {
      if (keys.count - tile * kColumns < kColumns) {
        mask(scores, keys.count - tile * kColumns);
      }
      softmax.add(scores, scale * kLog2E, weights, sums);
    }
#pragma unroll
    for (int page = 0; page < X::pages; page++) {
      const std::byte* const columns = ring + (X::whole ? slot + (X::pages + page) * X::page : feed.next());
      if (active) {
        add_values<X>(sums[page], weights, columns, 0);
      }
    }
  }
  __syncthreads();  // nobody reads shared memory any more
  softmax.finish(scale, sums, lse + task.item(heads) * tq, task.first, queries.count);
  store_rows<X>(shared, sums, 1.0f, Tokens<T>(out, task, tq, heads * d, d), task.first, channel);
}

// --- backward ----------------------------------------------------------------------------------------

// Rows of the tiles are queries or, if OfKeys, keys. With p = exp(s - lse) and ds = p (dp - drift), dp = dout v^T, adds up
// ds times the other of q and k (Slopes: dq, dk; without the factor of s) and p dout (OfWeights: dv).
template <class X, bool OfKeys, bool Slopes, bool OfWeights>
__device__ __forceinline__ void backward(const typename X::type* q, const typename X::type* k, const typename X::type* v,
                                         const float* lse, const float* drift, const typename X::type* dout,
                                         typename X::type* by_slopes, typename X::type* by_weights, std::int64_t heads,
                                         std::int64_t tq, std::int64_t tk, std::int64_t d, std::int64_t q_row,
                                         std::int64_t kv_row, float scale) {
  static_assert(OfKeys || !OfWeights, "only values have a gradient p dout");
  using T = typename X::type;
  // Columns at a time: s, dp and what becomes of them are in registers together.
  constexpr int kPass = X::whole && (X::bands > 1 || sizeof(T) == 4) ? kColumns / 2 : kColumns;
  constexpr int kPages = Slopes ? 2 * X::pages : X::pages;                   // of the rows
  RT_DYNAMIC_SHARED(std::byte, shared);
  const Task task(OfKeys ? tk : tq, X::rows, heads);
  const Tokens<const T> queries(q, task, tq, q_row, d);
  const Tokens<const T> keys(k, task, tk, kv_row, d);
  const Tokens<const T> values(v, task, tk, kv_row, d);
  const Tokens<const T> gradients(dout, task, tq, heads * d, d);
  // s = rows columns^T, dp = (rows of dp) (columns of dp)^T
  const Tokens<const T>& rows = OfKeys ? keys : queries;
  const Tokens<const T>& columns = OfKeys ? queries : keys;
  const Tokens<const T>& dp_rows = OfKeys ? values : gradients;
  const Tokens<const T>& dp_columns = OfKeys ? gradients : values;
  lse += task.item(heads) * tq;
  drift += task.item(heads) * tq;
  const int pages = X::resident ? X::pages : (rows.width + X::channels - 1) / X::channels;
  const int products = Slopes ? 2 * pages : pages;              // steps before p and ds are known
  const int channel = static_cast<int>(blockIdx.y) * X::width;  // first of the output
  const bool packed = queries.packed() && keys.packed() && values.packed() && gradients.packed();
  if constexpr (X::resident) {
#pragma unroll
    for (int page = 0; page < kPages; page++) {
      Tokens<const T> from = rows;
      if (page >= X::pages) {
        from = dp_rows;
      }
      load_page<X, X::rows>(shared + page * X::row_page, from, packed, task.first, page % X::pages * X::channels);
    }
  }
  const auto load = [&](int tile, int step, std::byte* slot) {
    const int first = tile * kColumns;
    if constexpr (X::whole) {
#pragma unroll
      for (int page = 0; page < X::pages; page++) {
        load_page<X, kColumns>(slot + page * X::page, columns, packed, first, page * X::channels);
        load_page<X, kColumns>(slot + (X::pages + page) * X::page, dp_columns, packed, first, page * X::channels);
      }
    } else {
      const bool second = step < products ? step >= pages : OfWeights && step < products + X::pages;
      const int page = step < products ? step % pages : (step - products) % X::pages;
      const int at = page * X::channels + (step < products ? 0 : channel);
      Tokens<const T> from = columns;
      if (second) {
        from = dp_columns;
      }
      load_page<X, kColumns>(slot, from, packed, first, at);
      if (!X::resident && step < products) {
        from = rows;
        if (second) {
          from = dp_rows;
        }
        load_page<X, X::rows>(slot + X::page, from, packed, task.first, at);
      }
    }
    if (OfKeys && (X::whole || step == products - 1)) {
      // Queries that do not exist get zeros here too: their p is 1, times rows of zeros.
      const int thread = static_cast<int>(threadIdx.x);
      const int query = first + thread % kColumns;
      if (thread < kColumns || Slopes) {
        rt_cp_async_4(slot + X::slot + thread * sizeof(float), (thread < kColumns ? lse : drift) + query, query < tq);
      }
    }
  };
  const int tiles = (columns.count + kColumns - 1) / kColumns;
  std::byte* const ring = shared + (X::resident ? kPages * X::row_page : 0);
  const int steps = X::whole ? 1 : products + (Slopes ? X::pages : 0) + (OfWeights ? X::pages : 0);
  auto feed = feed_of<X::slots, X::slot + kSide>(ring, tiles, steps, load);
  const int own = task.first + rt_warp() * 16 * X::bands;
  const bool active = X::width == 256 || own < rows.count;  // no register is left to tell idle warps at 256
  float row_lse[2 * X::bands];  // of rows t / 4 + 8 i
  float row_drift[2 * X::bands];
  if constexpr (!OfKeys) {
#pragma unroll
    for (int i = 0; i < 2 * X::bands; i++) {
      const int row = own + 8 * i + rt_lane() / 4;
      row_lse[i] = row < rows.count ? lse[row] : 0.0f;
      row_drift[i] = row < rows.count ? drift[row] : 0.0f;
    }
  }
  Sums<X::bands, X::tiles> slope_sums[X::pages];
  Sums<X::bands, X::tiles> weight_sums[X::pages];
#pragma unroll
  for (int page = 0; page < X::pages; page++) {
    clear(slope_sums[page]);
    clear(weight_sums[page]);
  }
  for (int tile = 0; tile < tiles; tile++) {
    int slot = 0;
    if constexpr (X::whole) {
      slot = feed.next();
    }
    const auto next = [&](int page) -> const std::byte* {
      if constexpr (X::whole) {
        return ring + slot + page * X::page;
      } else {
        slot = feed.next();
        return ring + slot;
      }
    };
#pragma unroll 1
    for (int first = 0; first < kColumns; first += kPass) {
      Sums<X::bands, kPass / 8> scores;  // s, then dp beside it
      Sums<X::bands, kPass / 8> rates;
      clear(scores);
      clear(rates);
#pragma unroll(X::whole ? X::pages : 1)
      for (int page = 0; page < pages; page++) {
        const std::byte* const other = next(page);
        if (active) {
          add_scores<X>(scores, X::resident ? shared + page * X::row_page : other + X::page, other, first);
        }
      }
      if constexpr (Slopes) {
#pragma unroll(X::whole ? X::pages : 1)
        for (int page = 0; page < pages; page++) {
          const std::byte* const other = next(X::pages + page);
          if (active) {
            add_scores<X>(rates, X::resident ? shared + (X::pages + page) * X::row_page : other + X::page, other, first);
          }
        }
      }
      Weights<T, X::bands, kPass / 8> weights;
      Weights<T, X::bands, kPass / 8> slopes;
      if (active) {
        if (!OfKeys && columns.count - tile * kColumns < kColumns) {
          mask(scores, columns.count - tile * kColumns - first);
        }
        const auto* const side = reinterpret_cast<const float*>(ring + slot + X::slot) + first;
#pragma unroll
        for (int at = 0; at < kPass / 8; at++) {
          const int column = 8 * at + rt_lane() % 4 * 2;
#pragma unroll
          for (int band = 0; band < X::bands; band++) {
            float p[4];
            float ds[4];
#pragma unroll
            for (int e = 0; e < 4; e++) {
              const float level = OfKeys ? side[column + e % 2] : row_lse[2 * band + e / 2];
              p[e] = rt_exp2(fmaf(scale * kLog2E, scores[band][at][e], -kLog2E * level));
              if constexpr (Slopes) {
                const float mean = OfKeys ? side[kColumns + column + e % 2] : row_drift[2 * band + e / 2];
                ds[e] = p[e] * (rates[band][at][e] - mean);
              }
            }
            if constexpr (OfWeights) {
              weights.set(band, at, p);
            }
            if constexpr (Slopes) {
              slopes.set(band, at, ds);
            }
          }
        }
      }
      if constexpr (OfWeights) {
#pragma unroll
        for (int page = 0; page < X::pages; page++) {
          const std::byte* const other = next(X::pages + page);
          if (active) {
            add_values<X>(weight_sums[page], weights, other, first);
          }
        }
      }
      if constexpr (Slopes) {
#pragma unroll
        for (int page = 0; page < X::pages; page++) {
          const std::byte* const other = next(page);
          if (active) {
            add_values<X>(slope_sums[page], slopes, other, first);
          }
        }
      }
    }
  }
  __syncthreads();  // nobody reads shared memory any more
  if (Slopes && by_slopes != nullptr) {
    const Tokens<T> to(by_slopes, task, OfKeys ? tk : tq, OfKeys ? kv_row : q_row, d);
    store_rows<X>(shared, slope_sums, scale, to, task.first, channel);
  }
  if (OfWeights && by_weights != nullptr) {
    store_rows<X>(shared, weight_sums, 1.0f, Tokens<T>(by_weights, task, tk, kv_row, d), task.first, channel);
  }
}

// Eight lanes a (token, head).
template <class T>
__device__ __forceinline__ void row_products(const T* out, const T* dout, float* drift, std::int64_t heads, std::int64_t tq,
                                             std::int64_t d, std::int64_t rows) {
  constexpr int N = RT_WIDTH<T>;
  const std::int64_t row = rt_global_thread() / 8;
  const int lane = rt_lane() % 8;
  const std::int64_t size = row < rows ? d : 0;
  out += row * d;
  dout += row * d;
  float sum = 0.0f;
  if (d % N == 0 && rt_aligned(out, dout)) {
    for (std::int64_t c = lane * N; c < size; c += 8 * N) {
      float u[N];
      float v[N];
      rt_load(out + c, u);
      rt_load(dout + c, v);
#pragma unroll
      for (int i = 0; i < N; i++) {
        sum = fmaf(u[i], v[i], sum);
      }
    }
  } else {
    for (std::int64_t c = lane; c < size; c += 8) {
      sum = fmaf(rt_load(out + c), rt_load(dout + c), sum);
    }
  }
  sum = rt_warp_sum<8>(sum);
  if (lane == 0 && row < rows) {
    const std::int64_t token = row / heads;
    drift[(token / tq * heads + row % heads) * tq + token % tq] = sum;
  }
}

}  // namespace

#define RT_ATTENTION_DRIFT(suffix, T)                                                                                    \
  RT_KERNEL(rt_attention_drift_##suffix,                                                                                 \
            (const T* __restrict__ out, const T* __restrict__ dout, float* __restrict__ drift, std::int64_t heads,       \
             std::int64_t tq, std::int64_t d, std::int64_t rows)) {                                                      \
    row_products(out, dout, drift, heads, tq, d, rows);                                                                  \
  }

RT_ATTENTION_DRIFT(f32, float)
RT_ATTENTION_DRIFT(bf16, rt_bf16)

#define RT_ATTENTION_FORWARD(name, T, width, bands, whole, resident)                                                     \
  RT_KERNEL_OCCUPANCY(rt_attention_##name, kThreads, 1,                                                                  \
                      (const T* __restrict__ q, const T* __restrict__ k, const T* __restrict__ v, T* __restrict__ out,   \
                       float* __restrict__ lse, std::int64_t heads, std::int64_t tq, std::int64_t tk, std::int64_t d,    \
                       std::int64_t q_row, std::int64_t kv_row, float scale)) {                                          \
    forward<Tiling<T, width, bands, whole, resident>>(q, k, v, out, lse, heads, tq, tk, d, q_row, kv_row, scale);        \
  }

RT_ATTENTION_FORWARD(32_f32, float, 32, 1, true, true)
RT_ATTENTION_FORWARD(64_f32, float, 64, 1, true, true)
RT_ATTENTION_FORWARD(128_f32, float, 128, 1, false, true)
RT_ATTENTION_FORWARD(wide_f32, float, 256, 1, false, false)
RT_ATTENTION_FORWARD(32_bf16, rt_bf16, 32, 2, true, true)
RT_ATTENTION_FORWARD(64_bf16, rt_bf16, 64, 2, true, true)
RT_ATTENTION_FORWARD(128_bf16, rt_bf16, 128, 2, true, true)
RT_ATTENTION_FORWARD(256_bf16, rt_bf16, 256, 1, false, true)
RT_ATTENTION_FORWARD(wide_bf16, rt_bf16, 256, 1, false, false)

// `by_slopes` and `by_weights` are the gradients that the kernel is named after; dkv skips one that is null.
#define RT_ATTENTION_BACKWARD(which, of_keys, slopes, weights, name, T, width, bands, whole, resident)                   \
  RT_KERNEL_OCCUPANCY(rt_attention_##which##_##name, kThreads, 1,                                                        \
                      (const T* __restrict__ q, const T* __restrict__ k, const T* __restrict__ v,                        \
                       const float* __restrict__ lse, const float* __restrict__ drift, const T* __restrict__ dout,       \
                       T* __restrict__ by_slopes, T* __restrict__ by_weights, std::int64_t heads, std::int64_t tq,       \
                       std::int64_t tk, std::int64_t d, std::int64_t q_row, std::int64_t kv_row, float scale)) {         \
    backward<Tiling<T, width, bands, whole, resident>, of_keys, slopes, weights>(                                        \
        q, k, v, lse, drift, dout, by_slopes, by_weights, heads, tq, tk, d, q_row, kv_row, scale);                       \
  }

// Where the sums of dk and dv fit the registers together, one kernel saves a product; otherwise each has its own.
#define RT_ATTENTION_TOGETHER(name, T, width, bands, whole)                                      \
  RT_ATTENTION_BACKWARD(dq, false, true, false, name, T, width, bands, whole, true)              \
  RT_ATTENTION_BACKWARD(dkv, true, true, true, name, T, width, bands, whole, true)
#define RT_ATTENTION_APART(name, T, width, resident)                                             \
  RT_ATTENTION_BACKWARD(dq, false, true, false, name, T, width, 1, false, resident)              \
  RT_ATTENTION_BACKWARD(dk, true, true, false, name, T, width, 1, false, resident)               \
  RT_ATTENTION_BACKWARD(dv, true, false, true, name, T, width, 1, false, resident)

RT_ATTENTION_TOGETHER(32_f32, float, 32, 1, true)
RT_ATTENTION_TOGETHER(64_f32, float, 64, 1, true)
RT_ATTENTION_APART(128_f32, float, 128, true)
RT_ATTENTION_APART(wide_f32, float, 128, false)
RT_ATTENTION_TOGETHER(32_bf16, rt_bf16, 32, 2, true)
RT_ATTENTION_TOGETHER(64_bf16, rt_bf16, 64, 2, true)
RT_ATTENTION_TOGETHER(128_bf16, rt_bf16, 128, 1, true)
RT_ATTENTION_APART(256_bf16, rt_bf16, 256, true)
RT_ATTENTION_APART(wide_bf16, rt_bf16, 256, false)
