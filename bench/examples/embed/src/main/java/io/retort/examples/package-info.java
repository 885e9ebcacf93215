/// A program that uses what Retort made, without Retort.
///
/// Depends on ONNX Runtime and nothing else.
package io.retort.examples;
