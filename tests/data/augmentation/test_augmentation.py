"""Augmentation keeps shapes, is seeded, does not mutate its input, and does what it says."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal
import torch
from torch import Generator, Tensor

from earful.data.augmentation import noise, pipeline, spectrogram, waveform
from earful.data.augmentation.pipeline import NO_AUGMENTATION, AugmentConfig
from earful.data.augmentation.sampling import apply_with_probability
from tests.fixtures.claimed_cuda import CUDA, claimed_cuda, values_of

RATE_HZ = 8_000
BATCH = 6


def generator(seed: int = 3) -> Generator:
    return torch.Generator().manual_seed(seed)


def tones(hz: float = 1_000.0) -> Tensor:
    """Half-second tones in the middle of a second, (batch, samples)."""
    time = torch.arange(RATE_HZ) / RATE_HZ
    tone = 0.3 * torch.sin(2 * torch.pi * hz * time)
    tone[: RATE_HZ // 4] = 0
    tone[-RATE_HZ // 4 :] = 0
    return tone.repeat(BATCH, 1)


def peak_hz(waveform: Tensor) -> float:
    spectrum = torch.fft.rfft(waveform).abs()
    return float(spectrum.argmax()) * RATE_HZ / len(waveform)


def fade_envelope(like: Tensor) -> Tensor:
    """A sound that fades in and out over the clip."""
    return torch.hann_window(like.shape[1], periodic=False, device=like.device).expand_as(like)


WAVEFORM_STEPS: dict[str, Callable[[Tensor, Generator], Tensor]] = {
    "speed": lambda x, g: waveform.change_speed(x, (0.7, 0.8), g),
    "edges": lambda x, g: waveform.trim_edges(x + 0.01 * fade_envelope(x), (-60.0, -20.0), g),
    "shift": lambda x, g: waveform.shift_time(x, 800, g),
    "gain": lambda x, g: waveform.change_gain(x, (-12.0, -6.0), g),
    "equalise": lambda x, g: waveform.equalise(x, 10.0, g),
    "band": lambda x, g: waveform.limit_band(x, RATE_HZ, g),
    "reverberate": lambda x, g: waveform.reverberate(x, (0.1, 0.3), RATE_HZ, g),
    "noise": lambda x, g: noise.add_noise(x, tones(300.0).to(x), 0.4, (5.0, 10.0), RATE_HZ, g),
    "impulses": lambda x, g: noise.add_impulses(x, (0.1, 0.3), g),
    "clipping": waveform.clip_peaks,
    "codec": waveform.code_mu_law,
}
SPECTROGRAM_STEPS: dict[str, Callable[[Tensor, Generator], Tensor]] = {
    "vocal tract": lambda x, g: spectrogram.warp_vocal_tract(x, (0.9, 1.1), 0.05, g),
    "time": lambda x, g: spectrogram.warp_time(x, (0.75, 1.35), 0.3, g),
    "masks": lambda x, g: spectrogram.spec_augment(x, 6, 10, 2, g),
}


@pytest.mark.parametrize("step", WAVEFORM_STEPS.values(), ids=WAVEFORM_STEPS.keys())
def test_step_is_pure_seeded_and_finite(step: Callable[[Tensor, Generator], Tensor]) -> None:
    before = tones()
    waveforms = before.clone()
    first, again, other = (step(waveforms, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(waveforms, before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == before.shape
    assert bool(torch.isfinite(first).all())
    assert not torch.equal(first, before)


@pytest.mark.parametrize("name", [*WAVEFORM_STEPS, *SPECTROGRAM_STEPS, "background", "mixup"])
def test_step_makes_its_tensors_where_its_clips_are(name: str) -> None:
    steps = {
        **WAVEFORM_STEPS,
        **SPECTROGRAM_STEPS,
        "background": lambda x, g: noise.synthetic_background(x, x, RATE_HZ, g),
        "mixup": lambda x, g: torch.cat(pipeline.mixup(x, x[:, :5], 0.5, g), dim=1),
    }
    clips = torch.randn(BATCH, 40, 63) if name in SPECTROGRAM_STEPS else 0.1 * tones()
    expected = steps[name](clips, generator())
    with claimed_cuda():
        out = steps[name](clips.to(CUDA), torch.Generator(CUDA).manual_seed(3))
        assert out.device.type == "cuda"
    torch.testing.assert_close(values_of(out), expected)


def test_augmentation_waits_for_a_gpu_only_for_which_clips_were_drawn() -> None:
    """Nothing that is computed waits: neither copies to the GPU nor values of its numbers."""
    config = AugmentConfig(
        p_trim_edges=0.5, p_reverberate=0.5, p_noise=0.9, p_impulses=0.5, p_codec=0.5
    )
    with claimed_cuda() as mode:
        clips = tones().to(CUDA)
        for _ in range(2):  # the first time it keeps the filters of these speeds
            mode.waits.clear()
            drawn = torch.Generator(CUDA).manual_seed(3)
            pipeline.augment_waveforms(clips, clips, config, RATE_HZ, drawn)
        waits = Counter(mode.waits)
    assert waits.pop("copy from cuda to cpu") == 1  # the speeds of the clips
    assert waits.pop("aten.nonzero.default") <= 8 + 4  # steps, and kinds of noise
    # The offsets of four voices of babble, one copy on a GPU, and of the single voice.
    assert waits.pop("aten._local_scalar_dense.default") <= 4 + 1
    assert not waits


def test_probability_applies_per_clip_and_leaves_other_clips_unchanged() -> None:
    clips = torch.ones(4_000, 3)
    out = apply_with_probability(clips, 0.3, lambda x: x * 2, generator())
    changed = out[:, 0] == 2
    assert float(changed.float().mean()) == pytest.approx(0.3, abs=0.03)
    assert torch.equal(out[~changed], clips[~changed])
    assert torch.equal(apply_with_probability(clips, 0.0, lambda x: x * 2, generator()), clips)
    assert float(apply_with_probability(clips, 1.0, lambda x: x * 2, generator()).min()) == 2


def test_disabled_pipeline_changes_nothing() -> None:
    waveforms = tones()
    out = pipeline.augment_waveforms(waveforms, waveforms, NO_AUGMENTATION, RATE_HZ, generator())
    torch.testing.assert_close(out, waveforms, atol=1e-6, rtol=0)
    features = torch.randn(BATCH, 40, 63)
    assert torch.equal(
        pipeline.augment_log_mel(features, NO_AUGMENTATION, 62.5, generator()), features
    )


def test_full_pipeline_is_finite_on_silence() -> None:
    config = AugmentConfig(
        p_equalise=1,
        p_band_limit=1,
        p_reverberate=1,
        p_noise=1,
        p_impulses=1,
        p_codec=1,
        p_clipping=1,
    )
    silence = torch.zeros(BATCH, RATE_HZ)
    for seed in range(5):
        out = pipeline.augment_waveforms(silence, tones(), config, RATE_HZ, generator(seed))
        assert bool(torch.isfinite(out).all())


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_speed_moves_pitch_and_length_together(factor: float) -> None:
    out = waveform.change_speed(tones(), (factor, factor), generator())
    assert peak_hz(out[0]) == pytest.approx(1_000 * factor, abs=5)
    sounding = out[0].abs().gt(0.01).nonzero()
    assert int(sounding[-1] - sounding[0]) == pytest.approx(RATE_HZ / 2 / factor, rel=0.01)


@pytest.mark.parametrize("factor", [0.92, 1.0, 1.07, 1.1])
def test_speed_resamples_about_the_middle_of_the_clip(factor: float) -> None:
    """Within -50 dB of a tone of the other pitch, and within a sample of its phase."""
    inner = slice(RATE_HZ // 4, -RATE_HZ // 4)  # the edges of a clip that got shorter are silent
    time = torch.arange(RATE_HZ) - RATE_HZ // 2
    radians = 2 * torch.pi * 700 / RATE_HZ * time
    tone = torch.sin(radians).repeat(BATCH, 1)
    out = waveform.change_speed(tone, (factor, factor), generator())[0, inner]
    basis = torch.stack([torch.sin(factor * radians), torch.cos(factor * radians)])[:, inner]
    fit = torch.linalg.lstsq(basis.T, out[:, None]).solution[:, 0]
    assert float((out - fit @ basis).abs().max()) < 3e-3
    assert abs(float(torch.atan2(fit[1], fit[0]))) <= 2 * np.pi * 700 * factor / RATE_HZ


def test_faster_speech_does_not_alias() -> None:
    """3.7 kHz becomes 4.6 kHz, which 8 kHz cannot hold: it is removed, not folded to 3.4 kHz."""
    tone = tones(3_700.0)
    out = waveform.change_speed(tone, (1.25, 1.25), generator())
    assert float(out.square().sum()) < 0.01 * float(tone.square().sum())


def test_each_clip_has_its_own_speed() -> None:
    clips = tones().repeat(20, 1)
    out = waveform.change_speed(clips, (0.8, 1.25), generator())
    pitches = [peak_hz(clip) for clip in out]
    assert len({round(hz / 10) for hz in pitches}) > 20
    assert all(795 <= hz <= 1_255 for hz in pitches)


def test_gain_is_in_decibels() -> None:
    out = waveform.change_gain(tones(), (-20.0, -20.0), generator())
    torch.testing.assert_close(out, tones() * 0.1)


@pytest.mark.parametrize("snr_db", [20.0, 5.0, -5.0])
def test_noise_is_mixed_at_the_snr_of_the_non_silent_part(snr_db: float) -> None:
    clean = tones()
    hiss = torch.randn(clean.shape, generator=generator())
    added = noise.mix_at_snr(clean, hiss, torch.full((BATCH, 1), snr_db)) - clean
    measured = 20 * torch.log10(noise.speech_rms(clean) / noise.rms(added))
    torch.testing.assert_close(measured, torch.full((BATCH, 1), snr_db), atol=0.05, rtol=0)


def test_silent_noise_and_silent_clips_are_mixed_without_nan() -> None:
    clean, silence = tones(), torch.zeros(BATCH, RATE_HZ)
    snr_db = torch.full((BATCH, 1), 10.0)
    assert torch.equal(noise.mix_at_snr(clean, silence, snr_db), clean)
    assert torch.equal(noise.mix_at_snr(silence, clean, snr_db), silence)
    assert torch.equal(noise.mix_at_snr(silence, silence, snr_db), silence)


def test_speech_rms_ignores_silence() -> None:
    tone_level = 0.3 / np.sqrt(2)
    assert noise.speech_rms(tones()).numpy() == pytest.approx(tone_level, rel=0.02)


def test_babble_has_no_gaps() -> None:
    """A half-second word is looped over the whole second."""
    mixed = noise.mix_babble(noise.loop_speech(tones()), 4, 1, generator())
    blocks = mixed.reshape(4, 50, -1).square().mean(2).sqrt()
    torch.testing.assert_close(blocks, torch.ones_like(blocks), atol=0.2, rtol=0)
    silent = noise.mix_babble(noise.loop_speech(torch.zeros(3, RATE_HZ)), 4, 2, generator())
    assert float(silent.abs().max()) == 0


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8])
def test_babble_share_of_the_clips_is_mixed_with_babble(share: float) -> None:
    """Babble is a tone here, at a frequency far above everything else that is mixed in."""
    clips, hz = tones(100.0)[:1].repeat(600, 1), 3_000
    noisy = noise.add_noise(clips, tones(hz), share, (0.0, 0.0), RATE_HZ, generator())
    power = torch.fft.rfft(noisy - clips).abs().square()
    near = power[:, hz - 20 : hz + 20].sum(1) / power.sum(1)
    assert float((near > 0.5).float().mean()) == pytest.approx(share + 0.1, abs=0.05)


def test_band_limits_attenuate_frequencies_outside() -> None:
    hiss = torch.randn(64, RATE_HZ, generator=generator())
    power = torch.fft.rfft(waveform.limit_band(hiss, RATE_HZ, generator())).abs().square()
    assert float(power[:, :20].mean()) < 0.05 * float(power[:, 800:1200].mean())


def test_band_limits_pass_1_khz_and_reduce_3900_hz() -> None:
    """The upper limit is uniform from 1.4 to 4 kHz: below 3.76 kHz in 91 % of the clips."""
    time = torch.arange(RATE_HZ) / RATE_HZ

    def gains_db(hz: float) -> Tensor:
        tone = torch.sin(2 * torch.pi * hz * time).repeat(400, 1)
        passed = waveform.limit_band(tone, RATE_HZ, generator())
        return 20 * torch.log10(noise.rms(passed) / noise.rms(tone))

    assert float(gains_db(1_000.0).min()) > -0.1
    assert float((gains_db(3_900.0) < -20).float().mean()) == pytest.approx(0.91, abs=0.03)


def test_reverberation_is_the_convolution_with_the_response_to_a_click() -> None:
    click = torch.zeros(BATCH, RATE_HZ)
    click[:, 0] = 1.0
    speech = torch.randn(BATCH, RATE_HZ, generator=generator(9))
    response, out = (
        waveform.reverberate(x, (0.1, 0.3), RATE_HZ, generator(5)) for x in (click, speech)
    )
    full = scipy.signal.fftconvolve(speech.double().numpy(), response.double().numpy(), axes=1)
    np.testing.assert_allclose(out.numpy(), full[:, :RATE_HZ], rtol=0, atol=1e-4)
    assert float(response[:, round(0.3 * RATE_HZ) + 1 :].abs().max()) < 1e-5


def test_reverberation_lengthens_the_sound_and_keeps_its_start() -> None:
    click = torch.zeros(BATCH, RATE_HZ)
    click[:, 1000] = 1.0
    out = waveform.reverberate(click, (0.3, 0.3), RATE_HZ, generator())
    assert float(out[:, :990].abs().max()) < 1e-5
    assert float(out[:, 1500:2500].square().sum()) > 1e-4
    torch.testing.assert_close(out[:, 1000], torch.ones(BATCH), atol=1e-4, rtol=0)


def test_coloured_noise_falls_with_frequency() -> None:
    waveforms = noise.coloured_noise(torch.zeros(64, RATE_HZ), generator())
    power = torch.fft.rfft(waveforms / noise.rms(waveforms)).abs().square().mean(0)
    assert float(power[50:150].mean()) > 5 * float(power[2000:3000].mean())


def test_impulses_replace_their_share_of_the_samples() -> None:
    x = 0.1 * torch.ones(BATCH, RATE_HZ)
    replaced = noise.add_impulses(x, (0.2, 0.2), generator()) != x
    assert float(replaced.float().mean()) == pytest.approx(0.2, abs=0.01)


def test_mu_law_codec_has_4_to_8_bits_of_g_711() -> None:
    """The error is at most half a step of the companded signal, as a formula of its own says."""
    compressed = torch.linspace(-1, 1, RATE_HZ)
    ramp = compressed.sign() * (256 ** compressed.abs() - 1) / 255
    coded = waveform.code_mu_law(ramp.repeat(200, 1), generator())
    clip_by_levels = {len(clip.unique()): clip for clip in coded}
    assert sorted(clip_by_levels) == [17, 33, 65, 129, 256]
    for levels, clip in clip_by_levels.items():
        error = (companded(clip) - compressed).abs().max()
        step_codes = 256 // (levels - 1)
        assert float(error) <= (step_codes / 2 + 0.5) * 2 / 255 + 1e-5
        assert float(clip.abs().max()) <= 1 + 1e-6
    assert float(waveform.code_mu_law(torch.zeros(200, 8), generator()).abs().max()) < 1e-4


def companded(x: Tensor) -> Tensor:
    return x.sign() * torch.log(1 + 255 * x.abs()) / np.log(256)


def test_vocal_tract_warp_moves_a_mel_bin() -> None:
    features = torch.zeros(BATCH, 40, 10)
    features[:, 20] = 1.0
    out = spectrogram.warp_vocal_tract(features, (1.25, 1.25), 0.0, generator())
    assert int(out[0, :, 0].argmax()) == 16


def test_time_warp_keeps_the_pitch_and_the_middle() -> None:
    features = torch.zeros(BATCH, 40, 63)
    features[:, 20, 21:42] = 1.0
    out = spectrogram.warp_time(features, (1.5, 1.5), 0.0, generator())
    assert float(out[:, :20].abs().sum() + out[:, 21:].abs().sum()) == 0
    loud = out[0, 20].nonzero().flatten()
    assert (int(loud[0]), int(loud[-1])) == (24, 38)


def test_uneven_time_warp_is_monotonic() -> None:
    ramp = torch.arange(63.0).expand(64, 1, 63)
    out = spectrogram.warp_time(ramp, (0.75, 1.35), 0.3, generator())
    assert float(out.diff(dim=2).min()) >= 0
    assert float(out.diff(dim=2).max()) <= 1.35 * 1.3 + 1e-3


def test_trim_edges_removes_only_quiet_edges() -> None:
    word = tones()
    weak = word.clone()
    weak[:, RATE_HZ // 4 : RATE_HZ // 4 + 800] *= 0.01  # 40 dB down, as an "f" may be
    weak[:, RATE_HZ // 2 : RATE_HZ // 2 + 800] *= 0.01  # inside the word
    out = waveform.trim_edges(weak, (-30.0, -30.0), generator())
    assert float(out[:, : RATE_HZ // 4 + 800].abs().max()) == 0
    torch.testing.assert_close(out[:, RATE_HZ // 4 + 800 :], weak[:, RATE_HZ // 4 + 800 :])
    assert torch.equal(waveform.trim_edges(weak, (-60.0, -60.0), generator()), weak)


def test_spec_augment_fills_whole_bands_and_frames_with_the_mean() -> None:
    features = torch.randn(BATCH, 40, 63, generator=generator())
    out = spectrogram.spec_augment(features, 10, 20, 2, generator())
    changed = out != features
    assert 0 < float(changed.float().mean()) < 0.9
    mean = features.mean(dim=(1, 2), keepdim=True).expand_as(features)
    assert torch.equal(out[changed], mean[changed])


def test_spec_augment_masks_have_at_most_the_given_width() -> None:
    features = torch.randn(300, 40, 63, generator=generator())
    out = spectrogram.spec_augment(features, 6, 10, 1, generator())
    changed = (out != features).numpy()
    for bins, frames in ((clip.all(axis=1), clip.all(axis=0)) for clip in changed):
        assert bins.sum() <= 6
        assert frames.sum() <= 10
        assert (np.diff(np.flatnonzero(bins)) == 1).all()
        assert (np.diff(np.flatnonzero(frames)) == 1).all()
    widths = changed.all(axis=2).sum(axis=1)
    assert {int(width) for width in widths} == set(range(7))
    assert torch.equal(spectrogram.spec_augment(features, 0, 0, 2, generator()), features)


def test_masks_neither_depend_on_the_global_generator_nor_change_it() -> None:
    features = torch.randn(BATCH, 40, 63, generator=generator())

    def masked(seed: int) -> Tensor:
        torch.manual_seed(seed)
        out = spectrogram.spec_augment(features, 6, 10, 1, generator())
        drawn_after = torch.rand(3)
        torch.manual_seed(seed)
        assert torch.equal(drawn_after, torch.rand(3))
        return out

    assert torch.equal(masked(1), masked(2))


def test_mixup_mixes_targets_as_it_mixes_waveforms() -> None:
    waveforms = torch.eye(4).repeat(1, 2)
    targets = torch.eye(4)
    mixed, soft = pipeline.mixup(waveforms, targets, 1.0, generator())
    torch.testing.assert_close(mixed[:, :4], soft)
    torch.testing.assert_close(soft.sum(1), torch.ones(4))
    unmixed, hard = pipeline.mixup(waveforms, targets, 0.0, generator())
    assert torch.equal(unmixed, waveforms)
    assert torch.equal(hard, targets)
