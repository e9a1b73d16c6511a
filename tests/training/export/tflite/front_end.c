/* A front end that knows nothing but the two headers; exits with 0 if it has the golden features. */
#include <math.h>
#include <stdio.h>

#include "model.h"
#include "model_golden.h"

#define BINS_OF_POWER (EARFUL_N_FFT / 2 + 1)
static const double PI = 3.14159265358979323846;

/* |DFT|^2 of a windowed frame; an FFT gives the same. */
static void power_spectrum(const double *frame, double *power) {
  for (int k = 0; k < BINS_OF_POWER; k++) {
    double real = 0, imaginary = 0;
    for (int n = 0; n < EARFUL_WIN_LENGTH; n++) {
      double angle = 2 * PI * ((long)k * n % EARFUL_N_FFT) / EARFUL_N_FFT;
      real += frame[n] * cos(angle);
      imaginary -= frame[n] * sin(angle);
    }
    power[k] = real * real + imaginary * imaginary;
  }
}

static void decibels(const double *power, double *db) {
  const float *weight = earful_mel_weights;
  for (int m = 0; m < EARFUL_N_MELS; m++) {
    double mel = 0;
    for (int i = 0; i < earful_mel_count[m]; i++) mel += *weight++ * power[earful_mel_first[m] + i];
    db[m] = 10 * log10(fmax(mel, EARFUL_POWER_FLOOR));
  }
}

static double value(const double *db, int bin) {
#ifdef EARFUL_USES_MFCC
  double sum = 0;
  for (int m = 0; m < EARFUL_N_MELS; m++) sum += earful_dct[bin * EARFUL_N_MELS + m] * db[m];
  return sum;
#else
  return db[bin];
#endif
}

int main(void) {
  double frame[EARFUL_WIN_LENGTH], power[BINS_OF_POWER], db[EARFUL_N_MELS], worst = 0;
  for (int t = 0; t < EARFUL_FRAMES; t++) {
    long first = (long)t * EARFUL_HOP_LENGTH - (EARFUL_WIN_LENGTH + 1) / 2;
    for (int i = 0; i < EARFUL_WIN_LENGTH; i++) {
      long n = first + i;
      int inside = n >= 0 && n < EARFUL_CLIP_SAMPLES;
      frame[i] = inside ? earful_golden_waveform[n] / 32768.0 * earful_window[i] : 0;
    }
    power_spectrum(frame, power);
    decibels(power, db);
    for (int b = 0; b < EARFUL_BINS; b++) {
      double feature = (value(db, b) - earful_mean[b]) * earful_inverse_std[b];
      double golden = earful_golden_features[b * EARFUL_FRAMES + t];
      worst = fmax(worst, fabs(feature - golden));
    }
  }
  printf("%g\n", worst);
  return worst < 1e-2 ? 0 : 1;
}
