package io.retort.grad;

import io.retort.op.Activation;
import io.retort.op.Add;
import io.retort.op.Affine;
import io.retort.op.Attention;
import io.retort.op.Augment;
import io.retort.op.AugmentSpec;
import io.retort.op.Broadcast;
import io.retort.op.Cast;
import io.retort.op.Concat;
import io.retort.op.Conv2d;
import io.retort.op.CrossEntropy;
import io.retort.op.Dropout;
import io.retort.op.Fourier;
import io.retort.op.GroupNorm;
import io.retort.op.LayerNorm;
import io.retort.op.Linear;
import io.retort.op.Lookup;
import io.retort.op.MatMul;
import io.retort.op.Mmd;
import io.retort.op.MmdKernel;
import io.retort.op.Multiply;
import io.retort.op.Pad;
import io.retort.op.Permute;
import io.retort.op.Pool;
import io.retort.op.Reduce;
import io.retort.op.Resample;
import io.retort.op.Reshape;
import io.retort.op.SelfAttention;
import io.retort.op.Sinusoid;
import io.retort.op.Slice;
import io.retort.op.Softmax;
import io.retort.tensor.DType;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.Shape;
import io.retort.tensor.Tensor;
import java.util.List;

/// A value on a [Tape]: the tensor, and where its gradient comes from.
public final class Var {
  private final Tape tape;
  private final Tensor value;
  private final int node;

  Var(Tape tape, Tensor value, int node) {
    this.tape = tape;
    this.value = value;
    this.node = node;
  }

  public Tape tape() {
    return tape;
  }

  public Tensor value() {
    return value;
  }

  public Shape shape() {
    return value.shape();
  }

  /// Index on the tape, or -1 for a constant.
  int node() {
    return node;
  }

  /// Whether a gradient will flow here.
  public boolean tracked() {
    return node >= 0;
  }

  /// The same value with the gradient stopped.
  public Var detach() {
    return new Var(tape, value, -1);
  }

  /// The value of a scalar.
  public float item() {
    return value.item();
  }

  /// `this + other`, one shape.
  public Var add(Var other) {
    return add(1, other, 1);
  }

  /// `this - other`, one shape.
  public Var sub(Var other) {
    return add(1, other, -1);
  }

  /// `alpha this + beta other`, one shape.
  public Var add(double alpha, Var other, double beta) {
    return tape.apply(new Add(alpha, beta), this, other);
  }

  /// `this other`, element by element, one shape.
  public Var mul(Var other) {
    return tape.apply(new Multiply(), this, other);
  }

  /// `scale this + shift`.
  public Var affine(double scale, double shift) {
    return tape.apply(new Affine(scale, shift), this);
  }

  /// `factor this`.
  public Var scale(double factor) {
    return affine(factor, 0);
  }

  /// `this + small`, small repeated to this shape by NumPy's rules.
  public Var addBroadcast(Var small) {
    return tape.apply(new Broadcast(Broadcast.Kind.ADD), this, small);
  }

  /// `this small`, small repeated to this shape by NumPy's rules.
  public Var mulBroadcast(Var small) {
    return tape.apply(new Broadcast(Broadcast.Kind.MULTIPLY), this, small);
  }

  /// `max(x, 0)`.
  public Var relu() {
    return tape.apply(new Activation(Activation.Kind.RELU), this);
  }

  /// `x` where positive, `slope x` elsewhere.
  public Var leakyRelu(double slope) {
    return tape.apply(new Activation(Activation.Kind.LEAKY_RELU, slope), this);
  }

  /// `x / (1 + e^-x)`.
  public Var silu() {
    return tape.apply(new Activation(Activation.Kind.SILU), this);
  }

  /// `x Phi(x)`, Phi the standard normal distribution.
  public Var gelu() {
    return tape.apply(new Activation(Activation.Kind.GELU), this);
  }

  /// GELU with tanh in place of Phi, as GPT-2 has it.
  public Var geluTanh() {
    return tape.apply(new Activation(Activation.Kind.GELU_TANH), this);
  }

  /// `1 / (1 + e^-x)`.
  public Var sigmoid() {
    return tape.apply(new Activation(Activation.Kind.SIGMOID), this);
  }

  /// `tanh x`.
  public Var tanh() {
    return tape.apply(new Activation(Activation.Kind.TANH), this);
  }

  /// `ln(1 + e^x)`.
  public Var softplus() {
    return tape.apply(new Activation(Activation.Kind.SOFTPLUS), this);
  }

  /// `e^x`.
  public Var exp() {
    return tape.apply(new Activation(Activation.Kind.EXP), this);
  }

  /// `ln x`.
  public Var log() {
    return tape.apply(new Activation(Activation.Kind.LOG), this);
  }

  /// `x^2`.
  public Var square() {
    return tape.apply(new Activation(Activation.Kind.SQUARE), this);
  }

  /// `sqrt x`.
  public Var sqrt() {
    return tape.apply(new Activation(Activation.Kind.SQRT), this);
  }

  /// `|x|`.
  public Var abs() {
    return tape.apply(new Activation(Activation.Kind.ABS), this);
  }

  /// The same values in another floating type.
  public Var cast(DType target) {
    return value.dtype() == target ? this : tape.apply(new Cast(target), this);
  }

  /// Zero with probability `p`, else scaled by `1 / (1 - p)`; the key names the mask.
  public Var dropout(double p, PhiloxKey key) {
    return tape.apply(new Dropout(p, key), this);
  }

  /// One after another along `axis`.
  public static Var concat(int axis, Var first, Var... others) {
    Var[] all = new Var[others.length + 1];
    all[0] = first;
    System.arraycopy(others, 0, all, 1, others.length);
    return first.tape.apply(new Concat(axis), all);
  }

  /// The places `begin` to `end - 1` along `axis`.
  public Var slice(int axis, long begin, long end) {
    return tape.apply(new Slice(axis, begin, end), this);
  }

  /// Images `(N, H, W, C)` with a border of zeroes.
  public Var pad(int top, int bottom, int left, int right) {
    return tape.apply(new Pad(top, bottom, left, right), this);
  }

  /// The same elements under another shape.
  public Var reshape(long... dims) {
    return tape.apply(new Reshape(Shape.of(dims)), this);
  }

  /// Axis i of the result is axis `axes[i]` of this.
  public Var permute(Integer... axes) {
    return tape.apply(new Permute(List.of(axes)), this);
  }

  /// Sum over these axes, which disappear; over all of them if none is named.
  public Var sum(Integer... axes) {
    return tape.apply(new Reduce(Reduce.Kind.SUM, List.of(axes)), this);
  }

  /// Mean over these axes, which disappear; over all of them if none is named.
  public Var mean(Integer... axes) {
    return tape.apply(new Reduce(Reduce.Kind.MEAN, List.of(axes)), this);
  }

  /// Sines and cosines `(N, channels)` of these numbers `(N)`.
  public Var sinusoid(int channels, double maxPositions, boolean endpoint, boolean sinFirst) {
    return tape.apply(new Sinusoid(channels, maxPositions, endpoint, sinFirst), this);
  }

  /// `(cos 2 pi f c, sin 2 pi f c)` of these numbers c `(N)`.
  public Var fourier(Var frequencies) {
    return tape.apply(new Fourier(), this, frequencies);
  }

  /// The rows of this table `(K, D)` that `ids` name.
  public Var lookup(Var ids) {
    return tape.apply(new Lookup(), this, ids);
  }

  /// Attention of this tensor's tokens to one another, `(N, ..., 3 C)` packed `[q | k | v]` to `(N,
  /// ..., C)`.
  public Var selfAttention(int heads) {
    return tape.apply(new SelfAttention(heads), this);
  }

  /// Attention of these queries to `keys`, which fetch `values`; result in the shape of the
  /// queries.
  public Var attention(Var keys, Var values, int heads) {
    return tape.apply(new Attention(heads), this, keys, values);
  }

  /// Squared maximum mean discrepancy of these features `(n, d)` to real ones `(m, d)`, a scalar.
  public Var mmd(Var real, MmdKernel kernel, boolean unbiased) {
    return tape.apply(new Mmd(kernel, unbiased), this, real);
  }

  /// Images (N, H, W, C) convolved with `weight` (Cout, C/groups, kh, kw), plus `bias` (Cout).
  public Var conv2d(Var weight, Var bias, int stride, int padding, int groups) {
    return tape.apply(new Conv2d(stride, padding, groups), this, weight, bias);
  }

  /// Images (N, H, W, C) convolved with `weight` (Cout, C/groups, kh, kw).
  public Var conv2d(Var weight, int stride, int padding, int groups) {
    return tape.apply(new Conv2d(stride, padding, groups), this, weight);
  }

  /// `x weight^T + bias` on the last axis, weight (out, in), bias (out).
  public Var linear(Var weight, Var bias) {
    return tape.apply(new Linear(), this, weight, bias);
  }

  /// `x weight^T` on the last axis, weight (out, in).
  public Var linear(Var weight) {
    return tape.apply(new Linear(), this, weight);
  }

  /// The product of these matrices and `other`, over equal leading axes.
  public Var matmul(Var other) {
    return matmul(false, other, false);
  }

  /// `op(this) op(other)` over equal leading axes; op transposes the last two where the flag is
  /// set.
  public Var matmul(boolean transposed, Var other, boolean otherTransposed) {
    return tape.apply(new MatMul(transposed, otherTransposed), this, other);
  }

  /// `e^x` over its sum along the last axis.
  public Var softmax() {
    return tape.apply(new Softmax(), this);
  }

  /// Mean cross-entropy of these `labels` (N) under the softmax of these logits (N, K), a scalar.
  public Var crossEntropy(Var labels) {
    return tape.apply(new CrossEntropy(), this, labels);
  }

  /// Normalised per sample and group of channels, times `gamma` plus `beta` (C), then SiLU if
  /// asked.
  public Var groupNorm(Var gamma, Var beta, int groups, double eps, boolean silu) {
    return tape.apply(new GroupNorm(groups, eps, silu), this, gamma, beta);
  }

  /// Normalised over the last axis, times `gamma` plus `beta` (C).
  public Var layerNorm(Var gamma, Var beta, double eps) {
    return tape.apply(new LayerNorm(eps), this, gamma, beta);
  }

  /// Means of the `kernel x kernel` windows of images (N, H, W, C).
  public Var avgPool(int kernel, int stride) {
    return tape.apply(new Pool(Pool.Kind.AVG, kernel, stride), this);
  }

  /// Maxima of the `kernel x kernel` windows of images (N, H, W, C).
  public Var maxPool(int kernel, int stride) {
    return tape.apply(new Pool(Pool.Kind.MAX, kernel, stride), this);
  }

  /// Images (N, H, W, C) of twice the size, interpolated with a FIR filter; `[1, 1]` repeats
  /// pixels.
  public Var upsample(List<Double> filter) {
    return tape.apply(new Resample(Resample.Direction.UP, filter), this);
  }

  /// Images (N, H, W, C) of half the size, smoothed with a FIR filter; `[1, 1]` takes means of 2 x
  /// 2 pixels.
  public Var downsample(List<Double> filter) {
    return tape.apply(new Resample(Resample.Direction.DOWN, filter), this);
  }

  /// One augmentation drawn by `key` for the whole batch (N, H, W, C): two batches under one key
  /// are treated alike.
  public Var augment(AugmentSpec spec, PhiloxKey key) {
    return tape.apply(new Augment(spec, key), this);
  }
}
