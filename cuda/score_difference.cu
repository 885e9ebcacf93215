// score_difference.cu   noising, EDM preconditioning, the denoising loss, and the gradients of score distillation
// shapes    images (N,P) with P = H W C, sigma (N), losses (1), everything f32
// launch    elementwise: any one-dimensional grid of 256 threads. rt_weighted_squares: any grid of 256, one partial sum a
//           block. rt_score_difference and rt_sid: one block a sample, of at least P / 16 threads up to 1024, the sample
//           in its registers. Larger samples in chunks: rt_score_sums, then rt_score_gradient or rt_sid_gradient, both N
//           * chunks blocks of 256. The last block adds up the loss: `partial` has a number a block (a sample, where
//           samples have a loss of their own), `counter` is as common/last_block.cuh says
// numerics  f32; sums are trees over threads and, of losses, over blocks in order. What a sum adds is given by shape and
//           launch
// traffic   T = 4 N P bytes; noise 2 T, input 2 T, output 3 T, its backward 2 or 3 T, edm loss 3 T, DI 3 T, DMD 4 T, SiD
//           6 T: each tensor once, for no distance needs a pass of its own. In chunks DMD 6 T and SiD 9 T. At most 25
//           FLOP an element, noise 50 instructions: memory-bound. H100 at 3.0 TB/s, 256 x 3072: T = 3.1 MB, DMD 4.2 us by
//           bytes, but bound by the latency of one launch, one load, one sum and one store: 5 us expected. 256 x 12288:
//           17 us
// measured  not measured yet
// spills    none
// limits    N, P >= 1; noise N P <= 2^34. `pack` is 4 where all pointers are 16-byte aligned and 4 divides P, else 1
// source    retort/score_difference.h

#include "common/last_block.cuh"
#include "common/reduce.cuh"
#include "common/rng.cuh"
#include "common/simt.cuh"
#include "common/vec.cuh"

namespace {

constexpr int kHeld = 16;  // elements of a sample that a thread keeps in registers

template <int V>
using Width = std::integral_constant<int, V>;

// Calls body(width) with the pack as a type.
template <class Body>
__device__ __forceinline__ void with_pack(int pack, Body body) {
  if (pack == 4) {
    body(Width<4>{});
  } else {
    body(Width<1>{});
  }
}

// Which sample an element belongs to; 32-bit division where the arrays allow it.
struct Samples {
  std::int64_t n, p;

  __device__ __forceinline__ std::int64_t elements() const { return n * p; }
  __device__ __forceinline__ std::int64_t of(std::int64_t i) const {
    return elements() <= 0x7fffffff ? static_cast<std::uint32_t>(i) / static_cast<std::uint32_t>(p) : i / p;
  }
};

// --- one number a sample, elementwise ------------------------------------------------------------------

// Calls body(first element, sample) for every pack of V elements of one sample.
template <int V, class Body>
__device__ __forceinline__ void for_packs(const Samples& samples, Body body) {
  for (std::int64_t i = rt_global_thread() * V; i < samples.elements(); i += rt_global_threads() * V) {
    body(i, samples.of(i));
  }
}

// out_i = function(x_i) with the function that make(sigma) gives for a sample
template <class Make>
__device__ __forceinline__ void map_samples(const float* __restrict__ x, const float* __restrict__ sigma,
                                            float* __restrict__ out, const Samples& samples, int pack, Make make) {
  with_pack(pack, [=](auto width) {
    constexpr int V = decltype(width)::value;
    for_packs<V>(samples, [=](std::int64_t i, std::int64_t sample) {
      const auto function = make(sigma[sample]);
      float v[V];
      rt_load(x + i, v);
#pragma unroll
      for (int j = 0; j < V; j++) {
        v[j] = function(v[j]);
      }
      rt_store(out + i, v);
    });
  });
}

// c_skip = sd^2 / (sigma^2 + sd^2) and c_out = sigma sd / sqrt(sigma^2 + sd^2)
struct Preconditioning {
  float skip, out;
  __device__ __forceinline__ Preconditioning(float sigma, float data) {
    const float total = sigma * sigma + data * data;
    skip = data * data / total;
    out = sigma * data * rsqrtf(total);
  }
};

// --- losses --------------------------------------------------------------------------------------------

// loss = scale * sum of what the blocks that come here bring, in their order. All threads of a block call.
__device__ __forceinline__ void add_loss(float part, std::int64_t index, std::int64_t parts, float scale, float* partial,
                                         unsigned* counter, float* loss) {
  if (threadIdx.x == 0) {
    partial[index] = part;
  }
  if (!rt_last_block(counter, static_cast<unsigned>(parts))) {
    return;
  }
  float total = 0.0f;
#pragma unroll 4
  for (std::int64_t i = threadIdx.x; i < parts; i += blockDim.x) {
    total += partial[i];
  }
  total = rt_block_sum(total);
  if (threadIdx.x == 0) {
    *loss = scale * total;
  }
}

// `distance`, or `floor` where that is larger; NaN stays.
__device__ __forceinline__ float normaliser(float distance, float floor) { return distance < floor ? floor : distance; }

// A form of the loss with real r and fake f: what an element adds to the two sums of its sample, and its gradients from
// what was kept of it; slope = scale / normaliser.
struct Dmd {
  float* __restrict__ gradient;

  static constexpr int kept = 1;  // f - r

  // Sums of |x - r| and of the loss's terms.
  __device__ __forceinline__ void take(float x, float r, float f, float (&keep)[kept], float (&sums)[2]) const {
    keep[0] = f - r;
    sums[0] += fabsf(x - r);
    sums[1] += keep[0] * keep[0];
  }
  __device__ __forceinline__ float loss(float sum, float normaliser) const { return sum / (normaliser * normaliser); }

  template <int V>
  __device__ __forceinline__ void store(std::int64_t i, const float (&keep)[V][kept], float slope) const {
    float out[V];
#pragma unroll
    for (int j = 0; j < V; j++) {
      out[j] = slope * keep[j][0];
    }
    rt_store(gradient + i, out);
  }
};

struct Sid {
  float alpha;
  float* __restrict__ dx;
  float* __restrict__ dr;
  float* __restrict__ df;

  static constexpr int kept = 2;  // r - f and r - x

  __device__ __forceinline__ void take(float x, float r, float f, float (&keep)[kept], float (&sums)[2]) const {
    keep[0] = r - f;
    keep[1] = r - x;
    sums[0] += fabsf(keep[1]);
    sums[1] += keep[0] * (keep[1] - alpha * keep[0]);
  }
  __device__ __forceinline__ float loss(float sum, float normaliser) const { return sum / normaliser; }

  template <int V>
  __device__ __forceinline__ void store(std::int64_t i, const float (&keep)[V][kept], float slope) const {
    float out[V];
#pragma unroll
    for (int j = 0; j < V; j++) {
      out[j] = -slope * keep[j][0];
    }
    rt_store(dx + i, out);
#pragma unroll
    for (int j = 0; j < V; j++) {
      out[j] = slope * (keep[j][1] + keep[j][0] - 2.0f * alpha * keep[j][0]);
    }
    rt_store(dr + i, out);
#pragma unroll
    for (int j = 0; j < V; j++) {
      out[j] = slope * (2.0f * alpha * keep[j][0] - keep[j][1]);
    }
    rt_store(df + i, out);
  }
};

// The images of one launch and what becomes of a sample's sums.
struct Images {
  const float* __restrict__ x;
  const float* __restrict__ r;
  const float* __restrict__ f;
  std::int64_t n, p;
  float floor;
  float scale;  // of gradients
};

struct Loss {
  float scale;
  float* partial;
  unsigned* counter;
  float* out;
};

template <int V, class Form>
__device__ __forceinline__ void take(const Images& images, const Form& form, std::int64_t i, float (&keep)[V][Form::kept],
                                     float (&sums)[2]) {
  float x[V], r[V], f[V];
  rt_load(images.x + i, x);
  rt_load(images.r + i, r);
  rt_load(images.f + i, f);
#pragma unroll
  for (int j = 0; j < V; j++) {
    form.take(x[j], r[j], f[j], keep[j], sums);
  }
}

// A block has a sample in its registers between its sums and its gradients.
template <int V, class Form>
__device__ __forceinline__ void whole_sample(const Images& images, const Form& form, const Loss& loss) {
  constexpr int K = kHeld / V;
  const std::int64_t at = blockIdx.x * images.p;
  const int p = static_cast<int>(images.p);
  const int step = static_cast<int>(blockDim.x) * V;
  const int first = static_cast<int>(threadIdx.x) * V;
  float keep[K][V][Form::kept];
  float sums[2] = {};
#pragma unroll
  for (int k = 0; k < K; k++) {
    if (first + k * step < p) {
      take<V>(images, form, at + first + k * step, keep[k], sums);
    }
  }
  rt_block_reduce(sums, rt_plus{});
  const float divisor = normaliser(sums[0] / static_cast<float>(images.p), images.floor);
  const float slope = images.scale / divisor;
#pragma unroll
  for (int k = 0; k < K; k++) {
    if (first + k * step < p) {
      form.template store<V>(at + first + k * step, keep[k], slope);
    }
  }
  add_loss(form.loss(sums[1], divisor), blockIdx.x, images.n, loss.scale, loss.partial, loss.counter, loss.out);
}

// A block's elements of its sample.
struct Chunk {
  int chunks, index;
  std::int64_t sample, first, end;

  __device__ __forceinline__ Chunk(const Images& images, std::int64_t size, unsigned block) {
    chunks = static_cast<int>((images.p + size - 1) / size);
    sample = block / static_cast<unsigned>(chunks);
    index = static_cast<int>(block % static_cast<unsigned>(chunks));
    first = sample * images.p + index * size;
    const std::int64_t last = (sample + 1) * images.p;
    end = first + size < last ? first + size : last;
  }
};

// Sums of each chunk to (N, chunks, 2).
template <int V, class Form>
__device__ __forceinline__ void chunk_sums(const Images& images, const Form& form, std::int64_t size,
                                           float* __restrict__ out) {
  const Chunk chunk(images, size, blockIdx.x);
  float sums[2] = {};
#pragma unroll 2
  for (std::int64_t i = chunk.first + threadIdx.x * V; i < chunk.end; i += blockDim.x * V) {
    float keep[V][Form::kept];
    take<V>(images, form, i, keep, sums);
  }
  rt_block_reduce(sums, rt_plus{});
  if (threadIdx.x == 0) {
    out[2 * static_cast<std::int64_t>(blockIdx.x)] = sums[0];
    out[2 * static_cast<std::int64_t>(blockIdx.x) + 1] = sums[1];
  }
}

// Gradients of each chunk, backwards to meet what the second-level cache still has; first chunks bring the loss.
template <int V, class Form>
__device__ __forceinline__ void chunk_gradients(const Images& images, const Form& form, const Loss& loss,
                                                std::int64_t size, const float* __restrict__ from) {
  const Chunk chunk(images, size, gridDim.x - 1 - blockIdx.x);
  float sums[2] = {};
  for (int i = static_cast<int>(threadIdx.x); i < chunk.chunks; i += static_cast<int>(blockDim.x)) {
    sums[0] += from[2 * (chunk.sample * chunk.chunks + i)];
    sums[1] += from[2 * (chunk.sample * chunk.chunks + i) + 1];
  }
  rt_block_reduce(sums, rt_plus{});
  const float divisor = normaliser(sums[0] / static_cast<float>(images.p), images.floor);
  const float slope = images.scale / divisor;
#pragma unroll 2
  for (std::int64_t i = chunk.first + threadIdx.x * V; i < chunk.end; i += blockDim.x * V) {
    float keep[V][Form::kept];
    float unused[2];
    take<V>(images, form, i, keep, unused);
    form.template store<V>(i, keep, slope);
  }
  if (chunk.index == 0) {
    add_loss(form.loss(sums[1], divisor), chunk.sample, images.n, loss.scale, loss.partial, loss.counter, loss.out);
  }
}

}  // namespace

// --- elementwise ---------------------------------------------------------------------------------------

// out_i = x_i + sigma_n e_i, e_i number i of the key's stream; step, if not null, replaces the key's
RT_KERNEL(rt_add_noise, (const float* __restrict__ x, const float* __restrict__ sigma, float* __restrict__ out,
                         std::int64_t n, std::int64_t p, rt_philox_key key, const std::int64_t* __restrict__ step)) {
  const Samples samples{n, p};
  const rt_philox_key now = rt_key_at(key, step);
  const std::int64_t elements = samples.elements();
  const bool packed = rt_aligned(x, out);
  for (std::int64_t i = 4 * rt_global_thread(); i < elements; i += 4 * rt_global_threads()) {
    float e[4];
    rt_normals(now, static_cast<std::uint32_t>(i / 4), e);
    if (packed && p % 4 == 0) {
      const float scale = sigma[samples.of(i)];
      float v[4];
      rt_load(x + i, v);
#pragma unroll
      for (int j = 0; j < 4; j++) {
        v[j] += scale * e[j];
      }
      rt_store(out + i, v);
    } else {
#pragma unroll
      for (int j = 0; j < 4; j++) {
        if (i + j < elements) {
          out[i + j] = x[i + j] + sigma[samples.of(i + j)] * e[j];
        }
      }
    }
  }
}

// out = x / sqrt(sigma^2 + data^2)
RT_KERNEL(rt_edm_input, (const float* __restrict__ x, const float* __restrict__ sigma, float* __restrict__ out,
                         float data, std::int64_t n, std::int64_t p, std::int32_t pack)) {
  map_samples(x, sigma, out, Samples{n, p}, pack, [=](float level) {
    const float scale = rsqrtf(level * level + data * data);
    return [=](float v) { return scale * v; };
  });
}

// out = c_skip x + c_out f
RT_KERNEL(rt_edm_output, (const float* __restrict__ x, const float* __restrict__ f, const float* __restrict__ sigma,
                          float* __restrict__ out, float data, std::int64_t n, std::int64_t p, std::int32_t pack)) {
  with_pack(pack, [=](auto width) {
    constexpr int V = decltype(width)::value;
    for_packs<V>(Samples{n, p}, [=](std::int64_t i, std::int64_t sample) {
      const Preconditioning c(sigma[sample], data);
      float u[V], v[V];
      rt_load(x + i, u);
      rt_load(f + i, v);
#pragma unroll
      for (int j = 0; j < V; j++) {
        u[j] = c.skip * u[j] + c.out * v[j];
      }
      rt_store(out + i, u);
    });
  });
}

// dx = c_skip dout and df = c_out dout; one of them may be null.
RT_KERNEL_OCCUPANCY(rt_edm_output_backward, 256, 4, (const float* __restrict__ dout, const float* __restrict__ sigma,
                                   float* __restrict__ dx, float* __restrict__ df, float data, std::int64_t n,
                                   std::int64_t p, std::int32_t pack)) {
  with_pack(pack, [=](auto width) {
    constexpr int V = decltype(width)::value;
    for_packs<V>(Samples{n, p}, [=](std::int64_t i, std::int64_t sample) {
      const Preconditioning c(sigma[sample], data);
      float u[V], v[V];
      rt_load(dout + i, u);
#pragma unroll
      for (int j = 0; j < V; j++) {
        v[j] = c.out * u[j];
        u[j] *= c.skip;
      }
      if (dx != nullptr) {
        rt_store(dx + i, u);
      }
      if (df != nullptr) {
        rt_store(df + i, v);
      }
    });
  });
}

// --- losses --------------------------------------------------------------------------------------------

// loss = scale sum w (d - y)^2, gradient = 2 scale w (d - y); w = constant + 1 / sigma_n^2, or constant without sigma
RT_KERNEL(rt_weighted_squares, (const float* __restrict__ d, const float* __restrict__ y, const float* __restrict__ sigma,
                                float* __restrict__ gradient, float constant, float scale, float* loss, float* partial,
                                unsigned* counter, std::int64_t n, std::int64_t p, std::int32_t pack)) {
  float sum = 0.0f;
  with_pack(pack, [=, &sum](auto width) {
    constexpr int V = decltype(width)::value;
    for_packs<V>(Samples{n, p}, [=, &sum](std::int64_t i, std::int64_t sample) {
      float weight = constant;
      if (sigma != nullptr) {
        const float level = sigma[sample];
        weight += 1.0f / (level * level);
      }
      float u[V], v[V];
      rt_load(d + i, u);
      rt_load(y + i, v);
      float squares = 0.0f;
#pragma unroll
      for (int j = 0; j < V; j++) {
        u[j] -= v[j];
        squares += u[j] * u[j];
        u[j] *= 2.0f * scale * weight;
      }
      sum += weight * squares;
      rt_store(gradient + i, u);
    });
  });
  add_loss(rt_block_sum(sum), blockIdx.x, gridDim.x, scale, partial, counter, loss);
}

#define RT_IMAGES                                                                                                 \
  const float *__restrict__ x, const float *__restrict__ r, const float *__restrict__ f, std::int64_t n,          \
      std::int64_t p, float floor, float scale, std::int32_t pack
#define RT_LOSS float loss_scale, float *loss, float *partial, unsigned *counter

// g = (f - r) / max(mean |x - r|, floor); gradient = scale g, loss = loss_scale sum g^2
RT_KERNEL_OCCUPANCY(rt_score_difference, 1024, 1, (RT_IMAGES, RT_LOSS, float* __restrict__ gradient)) {
  with_pack(pack, [=](auto width) {
    whole_sample<decltype(width)::value>(Images{x, r, f, n, p, floor, scale}, Dmd{gradient},
                                         Loss{loss_scale, partial, counter, loss});
  });
}

// w = max(mean |x - r|, floor); loss = loss_scale sum (r - f) ((r - x) - alpha (r - f)) / w, gradients times scale
RT_KERNEL_OCCUPANCY(rt_sid, 1024, 1, (RT_IMAGES, RT_LOSS, float alpha, float* __restrict__ dx, float* __restrict__ dr,
                                      float* __restrict__ df)) {
  with_pack(pack, [=](auto width) {
    whole_sample<decltype(width)::value>(Images{x, r, f, n, p, floor, scale}, Sid{alpha, dx, dr, df},
                                         Loss{loss_scale, partial, counter, loss});
  });
}

// Sums of chunks of `size` elements for rt_score_gradient or, if `sid`, for rt_sid_gradient.
RT_KERNEL(rt_score_sums, (RT_IMAGES, float* __restrict__ sums, std::int64_t size, std::int32_t sid, float alpha)) {
  with_pack(pack, [=](auto width) {
    constexpr int V = decltype(width)::value;
    const Images images{x, r, f, n, p, floor, scale};
    if (sid != 0) {
      chunk_sums<V>(images, Sid{alpha, nullptr, nullptr, nullptr}, size, sums);
    } else {
      chunk_sums<V>(images, Dmd{nullptr}, size, sums);
    }
  });
}

// As rt_score_difference.
RT_KERNEL(rt_score_gradient, (RT_IMAGES, RT_LOSS, const float* __restrict__ sums, std::int64_t size,
                              float* __restrict__ gradient)) {
  with_pack(pack, [=](auto width) {
    chunk_gradients<decltype(width)::value>(Images{x, r, f, n, p, floor, scale}, Dmd{gradient},
                                            Loss{loss_scale, partial, counter, loss}, size, sums);
  });
}

// As rt_sid.
RT_KERNEL(rt_sid_gradient, (RT_IMAGES, RT_LOSS, const float* __restrict__ sums, std::int64_t size, float alpha,
                            float* __restrict__ dx, float* __restrict__ dr, float* __restrict__ df)) {
  with_pack(pack, [=](auto width) {
    chunk_gradients<decltype(width)::value>(Images{x, r, f, n, p, floor, scale}, Sid{alpha, dx, dr, df},
                                            Loss{loss_scale, partial, counter, loss}, size, sums);
  });
}
