package io.retort.backend;

import io.retort.bindings.cpu.ScoreDifferenceLibrary;
import io.retort.op.ScoreDifference;
import io.retort.op.ScoreKernels;
import io.retort.tensor.PhiloxKey;
import io.retort.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/// [ScoreKernels] on the CPU library.
final class CpuScore implements ScoreKernels {

  @Override
  public void addNoise(Tensor x, Tensor sigma, PhiloxKey key, Tensor out) {
    ScoreDifferenceLibrary.addNoise(
        x.address(),
        sigma.address(),
        out.target(),
        samples(x),
        pixels(x),
        key.seed(),
        key.tag(),
        key.step());
  }

  @Override
  public void edmInput(Tensor x, Tensor sigma, double sigmaData, Tensor out) {
    ScoreDifferenceLibrary.edmInput(
        x.address(), sigma.address(), out.target(), samples(x), pixels(x), sigmaData);
  }

  @Override
  public void edmOutput(Tensor x, Tensor f, Tensor sigma, double sigmaData, Tensor out) {
    ScoreDifferenceLibrary.edmOutput(
        x.address(), f.address(), sigma.address(), out.target(), samples(x), pixels(x), sigmaData);
  }

  @Override
  public void edmOutputBackward(
      Tensor dout, Tensor sigma, double sigmaData, @Nullable Tensor dx, @Nullable Tensor df) {
    ScoreDifferenceLibrary.edmOutputBackward(
        dout.address(),
        sigma.address(),
        dx == null ? 0 : dx.target(),
        df == null ? 0 : df.target(),
        samples(dout),
        pixels(dout),
        sigmaData);
  }

  @Override
  public void edmLoss(
      Tensor d,
      Tensor y,
      Tensor sigma,
      double sigmaData,
      boolean mean,
      Tensor loss,
      Tensor gradient) {
    ScoreDifferenceLibrary.edmLoss(
        d.address(),
        y.address(),
        sigma.address(),
        loss.target(),
        gradient.target(),
        samples(d),
        pixels(d),
        sigmaData,
        mean ? 1 : 0);
  }

  @Override
  public void scoreDifference(
      Tensor x,
      Tensor real,
      Tensor fake,
      ScoreDifference.Form form,
      double floor,
      Tensor loss,
      Tensor gradient) {
    ScoreDifferenceLibrary.scoreDifference(
        x.address(),
        real.address(),
        fake.address(),
        loss.target(),
        gradient.target(),
        samples(x),
        pixels(x),
        form.ordinal(),
        floor);
  }

  @Override
  public void sid(
      Tensor x,
      Tensor real,
      Tensor fake,
      double alpha,
      double floor,
      Tensor loss,
      Tensor dx,
      Tensor dreal,
      Tensor dfake) {
    ScoreDifferenceLibrary.sid(
        x.address(),
        real.address(),
        fake.address(),
        loss.target(),
        dx.target(),
        dreal.target(),
        dfake.target(),
        samples(x),
        pixels(x),
        alpha,
        floor);
  }

  private static long samples(Tensor images) {
    return images.shape().dim(0);
  }

  private static long pixels(Tensor images) {
    return images.elements() / images.shape().dim(0);
  }
}
