// Fourier transforms: of a power of two points, and the power spectrum of any number of them.

/** A fast Fourier transform of n points, a power of two, in place. */
export function createFft(n) {
  const cosines = Float64Array.from({ length: n / 2 }, (_, k) => Math.cos((-2 * Math.PI * k) / n));
  const sines = Float64Array.from({ length: n / 2 }, (_, k) => Math.sin((-2 * Math.PI * k) / n));
  return (real, imaginary) => {
    for (let i = 1, j = 0; i < n; i++) {
      let bit = n >> 1;
      for (; j & bit; bit >>= 1) j ^= bit;
      j ^= bit;
      if (i >= j) continue;
      [real[i], real[j]] = [real[j], real[i]];
      [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]];
    }
    for (let size = 2; size <= n; size <<= 1) {
      const step = n / size;
      for (let start = 0; start < n; start += size) {
        for (let k = 0; k < size / 2; k++) {
          const c = cosines[k * step], s = sines[k * step];
          const a = start + k, b = a + size / 2;
          const re = real[b] * c - imaginary[b] * s, im = real[b] * s + imaginary[b] * c;
          real[b] = real[a] - re; imaginary[b] = imaginary[a] - im;
          real[a] += re; imaginary[a] += im;
        }
      }
    }
  };
}

/**
 * For real windows of any length n: a function from n samples to their n / 2 + 1 powers (rounded down).
 * Other lengths than powers of two by Bluestein's chirp z-transform (1970): a convolution.
 */
export function createPowerSpectrum(n) {
  const isPower = (n & (n - 1)) === 0;
  const transform = isPower ? createRealTransform(n) : createChirpTransform(n);
  return (samples) => {
    const { real, imaginary } = transform(samples);
    const powers = new Float64Array((n >> 1) + 1);
    for (let k = 0; k < powers.length; k++) powers[k] = real[k] ** 2 + imaginary[k] ** 2;
    return powers;
  };
}

function createRealTransform(n) {
  const transform = createFft(n), real = new Float64Array(n), imaginary = new Float64Array(n);
  return (samples) => {
    real.set(samples);
    imaginary.fill(0);
    transform(real, imaginary);
    return { real, imaginary };
  };
}

function createChirpTransform(n) {
  const size = 2 ** Math.ceil(Math.log2(2 * n - 1)), transform = createFft(size);
  // k * k modulo 2 n, so that the angle stays small and exact.
  const angles = Float64Array.from({ length: n }, (_, k) => (Math.PI * ((k * k) % (2 * n))) / n);
  const cosines = angles.map(Math.cos), sines = angles.map(Math.sin);
  const chirpReal = new Float64Array(size), chirpImaginary = new Float64Array(size);
  for (let k = 0; k < n; k++) {
    chirpReal[k] = chirpReal[(size - k) % size] = cosines[k];
    chirpImaginary[k] = chirpImaginary[(size - k) % size] = sines[k];
  }
  transform(chirpReal, chirpImaginary);
  const real = new Float64Array(size), imaginary = new Float64Array(size);
  return (samples) => {
    real.fill(0);
    imaginary.fill(0);
    for (let k = 0; k < n; k++) {
      real[k] = samples[k] * cosines[k];
      imaginary[k] = -samples[k] * sines[k];
    }
    transform(real, imaginary);
    // The inverse transform of the product is that of its conjugate, conjugated and divided by the size.
    // The last chirp has the magnitude 1: powers are the same without it, and without conjugation.
    for (let k = 0; k < size; k++) {
      const re = real[k] * chirpReal[k] - imaginary[k] * chirpImaginary[k];
      imaginary[k] = -(real[k] * chirpImaginary[k] + imaginary[k] * chirpReal[k]);
      real[k] = re;
    }
    transform(real, imaginary);
    for (let k = 0; k <= n >> 1; k++) {
      real[k] /= size;
      imaginary[k] /= size;
    }
    return { real, imaginary };
  };
}
