/// Convolutions by cuDNN 8, through JCudnn, beside which Retort's own may be put.
///
/// Read first: [CudnnConvolutions]. It runs in a process of its own, with JCuda 11.
@NullMarked
package io.retort.bench.jcudnn;

import org.jspecify.annotations.NullMarked;
