// attention.cuh   what attention and its gradients share: how a block cuts its work, how tokens get to shared memory and
//                 how a warp multiplies them
//
// A block owns some tokens of one head, the rows of its tiles of scores; all others pass by as columns, 64 at a time.
// The scores of a tile stay in the registers of the warp that has the rows, and feed the next product from there.
#pragma once

#include "common/mma.cuh"
#include "common/reduce.cuh"
#include "common/simt.cuh"
#include "common/vec.cuh"

namespace {

constexpr int kWarps = 4;
constexpr int kThreads = 32 * kWarps;
constexpr int kColumns = 64;  // tokens of a tile that passes by: eight products wide
constexpr float kLog2E = 1.44269504f;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// How a block cuts its work. Its own tokens are the rows of the tiles of scores, 16 * Bands of them a warp; all other
// tokens pass by as columns. Both lie in shared memory in pages of up to 128 bytes of channels.
//
// Whole: a step of the pipeline brings a whole tile of columns, both operands of it, and the next one is on its way.
// Otherwise a step brings one page, and three are on their way. Resident: the rows stay in shared memory; otherwise
// their pages come along with those of the columns, and `Width` bounds the channels of the output only, of which grid.y
// has the others.
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

  __device__ __forceinline__ Tokens(T* tensor, const Task& task, std::int64_t tokens, std::int64_t row, std::int64_t d)
      : start(tensor + task.sample * tokens * row + task.head * d),
        stride(static_cast<int>(row)),
        count(static_cast<int>(tokens)),
        width(static_cast<int>(d)) {}

  // Whether they consist of aligned chunks of 16 bytes.
  __device__ __forceinline__ bool packed() const {
    constexpr int N = RT_WIDTH<std::remove_const_t<T>>;
    return rt_aligned(start) && stride % N == 0 && width % N == 0;
  }

  // One or the other, member by member: a reference to either would put both into memory.
  static __device__ __forceinline__ Tokens choose(bool first, const Tokens& one, const Tokens& other) {
    Tokens chosen = other;
    if (first) {
      chosen = one;
    }
    return chosen;
  }

  __device__ __forceinline__ bool has(int token, int channel) const { return token < count && channel < width; }
  __device__ __forceinline__ T* at(int token, int channel) const {
    return start + std::int64_t{token} * stride + channel;
  }
};

// Begins to copy one page of `Rows` tokens from `first` and of channels from `channel` on; what is not there becomes
// zero. `packed` may be false for tokens that are.
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

// The pipeline: `steps` steps for each of `tiles` tiles go through `Slots` slots of shared memory, all but the one in
// use ahead of it. load(tile, step, slot) begins the copies of one step.
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

// What a warp accumulates: 16 * Bands rows by 8 * Tiles columns or channels. Lane t has, in elements 0 and 1 of each
// tile, row t / 4 at 2 (t % 4) and its right neighbour; in 2 and 3 the same eight rows below.
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
__device__ __forceinline__ void multiply_rows(Sums<X::bands, Tiles>& scores, const std::byte* rows,
                                              const std::byte* columns, int first) {
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

// The same. A tensor core truncates its running sum where an adder rounds it: float32 sums are those of pages, added up.
template <class X, int Tiles>
__device__ __forceinline__ void add_scores(Sums<X::bands, Tiles>& scores, const std::byte* rows,
                                           const std::byte* columns, int first) {
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

// A function of the scores as the left operand of a product over their columns. A tile of scores already lies as the
// tensor core wants it: two of them side by side in bf16; in f32 with the columns in the order 0 2 4 6 1 3 5 7.
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

// Two right operands: the tokens of one step, from row `token` of the page on, by 16 channels from tile `tile` on.
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

// Writes the warp's rows of all pages, times `factor`, by way of its own part of `stage`: neighbouring lanes write whole
// chunks.
template <class X>
__device__ __forceinline__ void store_rows(std::byte* stage, const Sums<X::bands, X::tiles> (&sums)[X::pages],
                                           float factor, const Tokens<typename X::type>& to, int first, int channel) {
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
          const float(&sum)[4] = sums[page][band][tile];
          const float pair[2] = {sum[2 * half] * factor, sum[2 * half + 1] * factor};
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

}  // namespace
