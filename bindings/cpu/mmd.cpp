// mmd.cpp   mmd2(u, v) and d mmd2 / d u in one pass over tiles of the kernel matrix
// shapes    u (n, d)   v (m, d)   gradient (n, d) f32; both samples are packed once, 64 points to a (d, 64) block
// launch    one block of u per iteration (its row of tiles, value and gradient), then one block of v (value only);
//           64 x 256 kernel values per thread are alive at a time
// numerics  points are centred by the joint mean (distances do not change; the polynomial kernel would, so its points
//           are not); |x - y|^2 = |x|^2 + |y|^2 - 2 x.y in f32, all three summed in the same order, so that equal
//           points are exactly 0 apart: absolute error about 1e-7 sqrt(d / 64) (|x|^2 + |y|^2), which the RBF kernels,
//           whose width is the mean distance, see as a relative 1e-6. Energy takes the difference itself where the
//           formula would lose more than 8 bits. Kernel values summed in f64. Fixed order: the same on any thread count
// traffic   2 d (2 n (n + m) + m^2 / 2) FLOP, reads u and v once; compute-bound: n = m = 1024, d = 2048 is 19.3 GFLOP =
//           36 ms at 530 GFLOP/s. Linear: reads u and v twice, memory-bound
// measured  2 cores Zen 5 shared with other work, five RBF widths with gradient, d = 2048: n = m = 1024 52 ms (70 % of
//           530 GFLOP/s), 256 3.1 ms (74 %), n = 16, m = 64 0.19 ms; energy 55 ms, polynomial 52 ms, linear 0.82 ms
// limits    n, m, d >= 1, any tail; working memory 4 (n + m) d bytes, kept for the next call
// source    retort/mmd.h; the gradient of one tile is (W 1) u - W z with W = 4 a dk / d|x - y|^2, handbook section 5.4
#include "retort/mmd.h"

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <type_traits>
#include <vector>

#include "cpu/dtype.h"
#include "cpu/error.h"
#include "cpu/registry.h"
#include "cpu/scratch.h"
#include "cpu/tile.h"
#include "cpu/vec.h"

namespace {

using rt::Left;
using rt::vec;
using std::int64_t;

using wide [[gnu::vector_size(rt::LANES * 8)]] = double;

constexpr int64_t POINTS = 64;    // of one block: four AVX-512 vectors, the register tile's width
constexpr int64_t GROUP = 4;      // tiles computed together, so that a block's panel is read once for all of them
constexpr int64_t PANEL = 128;    // dimensions at a time: a panel of 64 points is 32 KiB, fits the first-level cache
constexpr int64_t COLUMNS = 256;  // dimensions per iteration where dimensions are independent
constexpr float CANCELLATION = 1.0f / 256;

// ---- kernels: value and slope from a squared distance, or from a product of two points -----------------------------

struct Rbf {
  static constexpr bool of_distance = true;
  std::vector<float> exponents;  // -log2(e) / (factor b)
  std::vector<float> slopes;     // -1 / (factor b)

  void operator()(vec distance2, vec& value, vec& slope) const {
    value = vec{};
    slope = vec{};
    for (std::size_t q = 0; q < exponents.size(); ++q) {
      const vec e = rt::exp2_vec(distance2 * exponents[q]);
      value += e;
      slope += e * slopes[q];
    }
  }
};

struct Energy {
  static constexpr bool of_distance = true;

  void operator()(vec distance2, vec& value, vec& slope) const {
    for (int lane = 0; lane < rt::LANES; ++lane) {
      value[lane] = -std::sqrt(distance2[lane]);
    }
    slope = value < 0.0f ? 0.5f / value : vec{};
  }
};

struct Polynomial {
  static constexpr bool of_distance = false;
  int degree;
  float scale, offset;

  void operator()(vec product, vec& value, vec& slope) const {
    const vec base = product * scale + offset;
    vec power = rt::broadcast(1.0f);
    for (int i = 1; i < degree; ++i) {
      power *= base;
    }
    value = power * base;
    slope = power * (scale * static_cast<float>(degree));
  }
};

// ---- the joint sample, packed ---------------------------------------------------------------------------------------

// Blocks of up to 64 points, first those of u, then those of v; a block is (padded d, 64), points in lanes.
struct Sample {
  int64_t n, m, d;
  int64_t padded, u_blocks, v_blocks;
  float *points, *norms;

  Sample(int64_t n_, int64_t m_, int64_t d_)
      : n(n_),
        m(m_),
        d(d_),
        padded(rt::whole_vectors(d_)),
        u_blocks((n_ + POINTS - 1) / POINTS),
        v_blocks((m_ + POINTS - 1) / POINTS),
        points(nullptr),
        norms(nullptr) {}

  int64_t blocks() const { return u_blocks + v_blocks; }
  int64_t floats() const { return blocks() * (padded + 1) * POINTS; }
  void place(float* memory) {
    points = memory;
    norms = memory + blocks() * padded * POINTS;
  }
  bool of_u(int64_t block) const { return block < u_blocks; }
  // Number of the block's first point in its own sample, and how many points it has.
  int64_t first(int64_t block) const { return (of_u(block) ? block : block - u_blocks) * POINTS; }
  int64_t count(int64_t block) const { return std::min(POINTS, (of_u(block) ? n : m) - first(block)); }
  float* block(int64_t b) const { return points + b * padded * POINTS; }
  float* norm(int64_t b) const { return norms + b * POINTS; }
};

// Sums of columns [begin, end) of x (rows, d) in float64.
template <class T>
void column_sums(const T* x, int64_t rows, int64_t d, int64_t begin, int64_t end, double* sums) {
  std::fill(sums, sums + (end - begin), 0.0);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = begin; c < end; ++c) {
      sums[c - begin] += static_cast<double>(rt::load(x + r * d + c));
    }
  }
}

template <class T>
void joint_mean(const T* u, const T* v, int64_t n, int64_t m, int64_t d, float* mean) {
#pragma omp parallel for schedule(static) if ((n + m) * d > RT_PARALLEL_MIN)
  for (int64_t begin = 0; begin < d; begin += COLUMNS) {
    const int64_t end = std::min(d, begin + COLUMNS);
    double of_u[COLUMNS];
    double of_v[COLUMNS];
    column_sums(u, n, d, begin, end, of_u);
    column_sums(v, m, d, begin, end, of_v);
    for (int64_t c = begin; c < end; ++c) {
      mean[c] = static_cast<float>((of_u[c - begin] + of_v[c - begin]) / static_cast<double>(n + m));
    }
  }
}

// Centres and turns `count` rows of x into one block, and sums their squares.
template <class T>
void pack_block(const T* x, const float* mean, int64_t count, int64_t d, int64_t padded, float* block, float* norms) {
  constexpr int64_t row = rt::packed_row(POINTS);
  float rows[POINTS * row];
  const int64_t lanes = rt::whole_vectors(count);
  for (int64_t begin = 0; begin < padded; begin += POINTS) {
    const int64_t size = std::min(POINTS, d - begin);
    const int64_t columns = rt::whole_vectors(size);
    for (int64_t r = 0; r < lanes; ++r) {
      const int64_t valid = r < count ? size : 0;
      for (int64_t c = 0; c < valid; ++c) {
        rows[r * row + c] = rt::load(x + r * d + begin + c) - mean[begin + c];
      }
      std::fill(rows + r * row + valid, rows + r * row + columns, 0.0f);
    }
    rt::transpose_tile(lanes, columns, rows, row, block + begin * POINTS, POINTS, 1.0f);
  }
  for (int64_t lane = 0; lane < lanes; lane += rt::LANES) {
    vec sum{};
    for (int64_t c = 0; c < padded; ++c) {
      const vec z = rt::load_vec(block + c * POINTS + lane);
      sum += z * z;
    }
    rt::store_vec(norms + lane, sum);
  }
}

template <class T>
void pack_sample(const T* u, const T* v, const float* mean, const Sample& z) {
#pragma omp parallel for schedule(static) if ((z.n + z.m) * z.d > RT_PARALLEL_MIN)
  for (int64_t b = 0; b < z.blocks(); ++b) {
    const T* x = z.of_u(b) ? u : v;
    pack_block(x + z.first(b) * z.d, mean, z.count(b), z.d, z.padded, z.block(b), z.norm(b));
  }
}

// Mean squared distance over the pairs i != j of centred points; the square of their sum is 0 but for rounding.
double bandwidth(const Sample& z) {
  double squares = 0;
  for (int64_t b = 0; b < z.blocks(); ++b) {
    for (int64_t i = 0; i < z.count(b); ++i) {
      squares += static_cast<double>(z.norm(b)[i]);
    }
  }
  return 2 * squares / static_cast<double>(z.n + z.m - 1);
}

// ---- tiles ----------------------------------------------------------------------------------------------------------

// What a tile of the kernel matrix counts.
struct Weights {
  double uu, uv, vv;  // factor of one kernel value in mmd2; uv holds -1 / (n m) and is used twice
  bool unbiased;

  Weights(int64_t n, int64_t m, bool unbiased_) : unbiased(unbiased_) {
    const double nu = static_cast<double>(n);
    const double nv = static_cast<double>(m);
    uu = 1 / (nu * (unbiased ? nu - 1 : nu));
    vv = 1 / (nv * (unbiased ? nv - 1 : nv));
    uv = -1 / (nu * nv);
  }
};

template <class Kernel>
class Tiles {
 public:
  Tiles(const Sample& z, const Kernel& kernel, const Weights& weights) : z_(z), kernel_(kernel), weights_(weights) {}

  // Working memory of one thread.
  static int64_t floats(const Sample& z) { return GROUP * POINTS * POINTS + z.padded * POINTS; }

  // The row of tiles of one block of u: its share of mmd2, and d mmd2 / d u_i for its points.
  double row_with_gradient(int64_t block, float* gradient, float* memory) const {
    float* tiles = memory;
    float* turned = memory + GROUP * POINTS * POINTS;
    const int64_t lanes = rt::whole_vectors(z_.count(block));
    float totals[POINTS] = {};
    double value = 0;
    for (int64_t first = 0; first < z_.blocks(); first += GROUP) {
      const int64_t end = std::min(z_.blocks(), first + GROUP);
      products(block, first, end, tiles);
      for (int64_t other = first; other < end; ++other) {
        const double weight = z_.of_u(other) ? weights_.uu : weights_.uv;
        const float slope = static_cast<float>((Kernel::of_distance ? 4 : 2) * weight);
        value += (z_.of_u(other) ? 1 : 2) * weight *
                 evaluate(block, other, tiles + (other - first) * POINTS * POINTS, slope, totals);
      }
      for (int64_t c = 0; c < z_.padded; c += PANEL) {
        for (int64_t other = first; other < end; ++other) {
          rt::tile_product<Left::rows>(std::min(PANEL, z_.padded - c), lanes, z_.count(other),
                                       z_.block(other) + c * POINTS, POINTS, tiles + (other - first) * POINTS * POINTS,
                                       POINTS, turned + c * POINTS, POINTS, other > 0);
        }
      }
    }
    write_gradient(block, turned, totals, gradient);
    return value;
  }

  // The tiles of one block on and right of the diagonal: their share of mmd2 alone.
  double row(int64_t block, float* tiles) const {
    double value = 0;
    for (int64_t first = block; first < z_.blocks(); first += GROUP) {
      const int64_t end = std::min(z_.blocks(), first + GROUP);
      products(block, first, end, tiles);
      for (int64_t other = first; other < end; ++other) {
        const bool across = z_.of_u(block) != z_.of_u(other);
        const double weight = across ? weights_.uv : z_.of_u(block) ? weights_.uu : weights_.vv;
        value += (other == block ? 1 : 2) * weight *
                 evaluate(block, other, tiles + (other - first) * POINTS * POINTS, 0, nullptr);
      }
    }
    return value;
  }

 private:
  // tiles[other][j][i] = z_j . z_i for the points j of blocks [first, end) and i of `block`.
  void products(int64_t block, int64_t first, int64_t end, float* tiles) const {
    const int64_t lanes = rt::whole_vectors(z_.count(block));
    for (int64_t c = 0; c < z_.padded; c += PANEL) {
      for (int64_t other = first; other < end; ++other) {
        rt::tile_product<Left::columns>(z_.count(other), lanes, std::min(PANEL, z_.padded - c),
                                        z_.block(other) + c * POINTS, POINTS, z_.block(block) + c * POINTS, POINTS,
                                        tiles + (other - first) * POINTS * POINTS, POINTS, c > 0);
      }
    }
  }

  // Sum of the kernel values of one tile of products. If `totals` is not null the tile becomes slope * dk and its
  // columns are added to totals.
  double evaluate(int64_t block, int64_t other, float* tile, float slope, float* totals) const {
    const int64_t lanes = rt::whole_vectors(z_.count(block));
    float counted[POINTS] = {};
    std::fill(counted, counted + z_.count(block), 1.0f);
    wide sum{};
    for (int64_t j = 0; j < z_.count(other); ++j) {
      const bool same = block == other && weights_.unbiased;
      counted[j] = same ? 0.0f : counted[j];
      for (int64_t lane = 0; lane < lanes; lane += rt::LANES) {
        float* at = tile + j * POINTS + lane;
        const vec use = rt::load_vec(counted + lane);
        vec value;
        vec derivative;
        kernel_(argument(block, other, j, lane, rt::load_vec(at)), value, derivative);
        sum += __builtin_convertvector(value * use, wide);
        if (totals != nullptr) {
          const vec w = derivative * use * slope;
          rt::store_vec(at, w);
          rt::store_vec(totals + lane, rt::load_vec(totals + lane) + w);
        }
      }
      counted[j] = same ? 1.0f : counted[j];
    }
    double total = 0;
    for (int lane = 0; lane < rt::LANES; ++lane) {
      total += sum[lane];
    }
    return total;
  }

  // What the kernel is a function of, for point j of `other` and the points of `block` from `lane` on.
  vec argument(int64_t block, int64_t other, int64_t j, int64_t lane, vec product) const {
    if constexpr (Kernel::of_distance) {
      const vec squares = rt::load_vec(z_.norm(block) + lane) + z_.norm(other)[j];
      vec distance2 = rt::larger(vec{}, squares - 2.0f * product);
      if constexpr (std::is_same_v<Kernel, Energy>) {
        for (int i = 0; i < rt::LANES; ++i) {
          if (distance2[i] < CANCELLATION * squares[i]) {
            distance2[i] = exact_distance2(z_.block(block) + lane + i, z_.block(other) + j);
          }
        }
      }
      return distance2;
    } else {
      return product;
    }
  }

  float exact_distance2(const float* a, const float* b) const {
    float sum = 0;
    for (int64_t c = 0; c < z_.d; ++c) {
      const float difference = a[c * POINTS] - b[c * POINTS];
      sum += difference * difference;
    }
    return sum;
  }

  // gradient rows of the block: totals * u - turned^T for distances, turned^T for products.
  void write_gradient(int64_t block, float* turned, const float* totals, float* gradient) const {
    constexpr int64_t row = rt::packed_row(POINTS);
    float rows[POINTS * row];
    const int64_t count = z_.count(block);
    const int64_t lanes = rt::whole_vectors(count);
    if constexpr (Kernel::of_distance) {
      for (int64_t c = 0; c < z_.padded; ++c) {
        for (int64_t lane = 0; lane < lanes; lane += rt::LANES) {
          float* at = turned + c * POINTS + lane;
          const vec point = rt::load_vec(z_.block(block) + c * POINTS + lane);
          rt::store_vec(at, rt::load_vec(totals + lane) * point - rt::load_vec(at));
        }
      }
    }
    for (int64_t begin = 0; begin < z_.padded; begin += POINTS) {
      const int64_t size = std::min(POINTS, z_.d - begin);
      rt::transpose_tile(rt::whole_vectors(size), lanes, turned + begin * POINTS, POINTS, rows, row, 1.0f);
      for (int64_t i = 0; i < count; ++i) {
        std::copy(rows + i * row, rows + i * row + size, gradient + (z_.first(block) + i) * z_.d + begin);
      }
    }
  }

  const Sample& z_;
  const Kernel& kernel_;
  const Weights& weights_;
};

// Every tile once (those of u x u twice if there is a gradient); rows of tiles are added in order.
template <class Kernel>
double sum_of_tiles(const Sample& z, const Kernel& kernel, bool unbiased, float* gradient, float* memory,
                    int64_t stride) {
  const Weights weights(z.n, z.m, unbiased);
  const Tiles<Kernel> tiles(z, kernel, weights);
  std::vector<double> shares(static_cast<std::size_t>(z.blocks()));
#pragma omp parallel for schedule(dynamic) if ((z.n + z.m) * (z.n + z.m) * z.d > RT_PARALLEL_MIN)
  for (int64_t b = 0; b < z.blocks(); ++b) {
    float* mine = memory + omp_get_thread_num() * stride;
    shares[static_cast<std::size_t>(b)] =
        z.of_u(b) && gradient != nullptr ? tiles.row_with_gradient(b, gradient, mine) : tiles.row(b, mine);
  }
  double total = 0;
  for (const double share : shares) {
    total += share;
  }
  return total;
}

// |mean u - mean v|^2, less the traces of the means' covariances if unbiased; column by column.
template <class T>
double linear(const T* u, const T* v, int64_t n, int64_t m, int64_t d, bool unbiased, float* gradient) {
  const double nu = static_cast<double>(n);
  const double nv = static_cast<double>(m);
  const int64_t chunks = (d + COLUMNS - 1) / COLUMNS;
  std::vector<double> shares(static_cast<std::size_t>(chunks));
#pragma omp parallel for schedule(static) if ((n + m) * d > RT_PARALLEL_MIN)
  for (int64_t chunk = 0; chunk < chunks; ++chunk) {
    const int64_t begin = chunk * COLUMNS;
    const int64_t size = std::min(COLUMNS, d - begin);
    double mean_u[COLUMNS];
    double mean_v[COLUMNS];
    double spread[COLUMNS] = {};
    column_sums(u, n, d, begin, begin + size, mean_u);
    column_sums(v, m, d, begin, begin + size, mean_v);
    for (int64_t c = 0; c < size; ++c) {
      mean_u[c] /= nu;
      mean_v[c] /= nv;
    }
    const auto add_spread = [&](const T* x, int64_t rows, const double* mean, double factor) {
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c < size; ++c) {
          const double deviation = static_cast<double>(rt::load(x + r * d + begin + c)) - mean[c];
          spread[c] += factor * deviation * deviation;
        }
      }
    };
    if (unbiased) {
      add_spread(u, n, mean_u, 1 / (nu * (nu - 1)));
      add_spread(v, m, mean_v, 1 / (nv * (nv - 1)));
    }
    double share = 0;
    for (int64_t c = 0; c < size; ++c) {
      const double difference = mean_u[c] - mean_v[c];
      share += difference * difference - spread[c];
    }
    shares[static_cast<std::size_t>(chunk)] = share;
    if (gradient != nullptr) {
      const double inward = unbiased ? 2 / (nu * (nu - 1)) : 0;
      for (int64_t r = 0; r < n; ++r) {
        for (int64_t c = 0; c < size; ++c) {
          const double deviation = static_cast<double>(rt::load(u + r * d + begin + c)) - mean_u[c];
          gradient[r * d + begin + c] =
              static_cast<float>(2 * (mean_u[c] - mean_v[c]) / nu - inward * deviation);
        }
      }
    }
  }
  double total = 0;
  for (const double share : shares) {
    total += share;
  }
  return total;
}

struct Request {
  int32_t kernel;
  const double* numbers;
  int64_t count;
  bool unbiased;
};

template <class T>
double tiled(const T* u, const T* v, int64_t n, int64_t m, int64_t d, const Request& request, float* gradient) {
  Sample z(n, m, d);
  const int64_t stride = Tiles<Energy>::floats(z);
  float* memory = rt::scratch(z.floats() + z.padded + omp_get_max_threads() * stride);
  z.place(memory);
  float* mean = memory + z.floats();
  float* working = mean + z.padded;
  if (request.kernel == RT_POLYNOMIAL) {
    std::fill(mean, mean + d, 0.0f);
  } else {
    joint_mean(u, v, n, m, d, mean);
  }
  pack_sample(u, v, mean, z);
  if (request.kernel == RT_ENERGY) {
    return sum_of_tiles(z, Energy{}, request.unbiased, gradient, working, stride);
  }
  if (request.kernel == RT_POLYNOMIAL) {
    const Polynomial polynomial{static_cast<int>(request.numbers[0]), static_cast<float>(request.numbers[1]),
                                static_cast<float>(request.numbers[2])};
    return sum_of_tiles(z, polynomial, request.unbiased, gradient, working, stride);
  }
  const double b = bandwidth(z);
  Rbf rbf;
  for (int64_t q = 0; q < request.count; ++q) {
    const double rate = b == 0 ? 0 : 1 / (request.numbers[q] * b);
    rbf.exponents.push_back(static_cast<float>(-rate / std::log(2.0)));
    rbf.slopes.push_back(static_cast<float>(-rate));
  }
  return sum_of_tiles(z, rbf, request.unbiased, gradient, working, stride);
}

void check(int64_t n, int64_t m, int64_t d, const Request& request) {
  const int64_t least = request.unbiased ? 2 : 1;
  if (n < least || m < least || d < 1) {
    rt::fail("mmd: n and m must be >= %ld and d >= 1, got n %ld, m %ld, d %ld", static_cast<long>(least),
             static_cast<long>(n), static_cast<long>(m), static_cast<long>(d));
  }
  const double* numbers = request.numbers;
  switch (request.kernel) {
    case RT_LINEAR:
    case RT_ENERGY:
      return;
    case RT_RBF:
      if (request.count < 1 || !std::all_of(numbers, numbers + request.count, [](double f) { return f > 0; })) {
        rt::fail("mmd: an RBF kernel needs at least one bandwidth factor, and each must be positive");
      }
      return;
    case RT_POLYNOMIAL:
      if (request.count != 3 || !(numbers[0] >= 1 && numbers[0] <= 64) || numbers[0] != std::floor(numbers[0])) {
        rt::fail("mmd: a polynomial kernel needs a whole degree in [1, 64], a scale and an offset");
      }
      return;
    default:
      rt::fail("mmd: kernel must be 0 to 3, got %d", request.kernel);
  }
}

}  // namespace

rt_status rt_mmd(const void* u, const void* v, float* loss, float* gradient, int64_t n, int64_t m, int64_t d,
                 int32_t kernel, const double* numbers, int64_t count, int32_t unbiased, int32_t dtype) {
  return rt::guarded([&] {
    const Request request{kernel, numbers, count, unbiased != 0};
    check(n, m, d, request);
    rt::dispatch(dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      const T* from_u = static_cast<const T*>(u);
      const T* from_v = static_cast<const T*>(v);
      *loss = static_cast<float>(kernel == RT_LINEAR
                                     ? linear(from_u, from_v, n, m, d, request.unbiased, gradient)
                                     : tiled(from_u, from_v, n, m, d, request, gradient));
    });
  });
}
RT_EXPORT(rt_mmd);
