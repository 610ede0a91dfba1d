"""What the energies learn from, and that they learn it: filters, streams, bits, and a loss that never overflows."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from encore_ray.errors import DataError, ModelError
from encore_ray.models.energy.data import ResponseBatch, measure_corpus
from encore_ray.models.energy.network import EnergyNetwork
from encore_ray.models.energy.pair_blocks import PairBlock, PairBlocks
from encore_ray.models.energy.refiner import Refiner
from encore_ray.models.energy.standard_scaler import StandardScaler, StreamedMoments
from encore_ray.models.energy.training import add_gradients, contrastive_loss, fit_energies
from encore_ray.models.spec.energy import EnergySettings, FitProgress
from tests.models.energies import planted_blocks

QUICK = EnergySettings(num_negatives=16, learning_rate=1e-3, batch_responses=64, epochs=2)


def first_reward(blocks: PairBlocks) -> PairBlocks:
    def read(number: int) -> PairBlock:
        block = blocks.read(number)
        return replace(block, r_N2K=block.r_N2K[:, :, :1])

    return PairBlocks(blocks.num_blocks, read)


def test_the_loss_is_that_of_the_plain_formula_and_does_not_overflow() -> None:
    energy_BM = torch.tensor([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]], dtype=torch.float64)
    log_noise_BM = torch.tensor([[-0.1, -0.5, -2.0], [-0.3, -0.2, -0.9]], dtype=torch.float64)
    ratio_BM = energy_BM.exp() / log_noise_BM.exp()
    plain_B = -(ratio_BM[:, 0] / ratio_BM.sum(dim=1)).log()
    torch.testing.assert_close(contrastive_loss(energy_BM, log_noise_BM, torch.ones(3)), plain_B)
    count_M = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    repeated_BM = torch.stack([energy_BM, log_noise_BM])[:, :, [0, 1, 1, 2, 2, 2]]
    torch.testing.assert_close(
        contrastive_loss(energy_BM, log_noise_BM, count_M), contrastive_loss(*repeated_BM, torch.ones(6))
    )
    huge = torch.tensor([[1e4, -1e4, 9e3]], requires_grad=True)
    loss = contrastive_loss(huge, torch.tensor([[-500.0, -0.5, -0.1]]), torch.ones(3))
    loss.sum().backward()
    assert torch.isfinite(loss).all() and torch.isfinite(huge.grad).all()  # type: ignore[arg-type]
    assert float(contrastive_loss(-huge.detach(), torch.zeros(1, 3), torch.ones(3))[0]) == pytest.approx(2e4)


def test_moments_of_parts_are_those_of_the_whole_without_nan() -> None:
    value_ND = np.random.default_rng(0).normal(1e3, 0.1, (50, 3))
    value_ND[::7, 1] = np.nan
    joined = StreamedMoments.of(value_ND[:20]) + StreamedMoments.of(value_ND[20:21]) + StreamedMoments.of(value_ND[21:])
    np.testing.assert_array_equal(joined.num_D, [50, 42, 50])
    np.testing.assert_allclose(joined.mean_D, np.nanmean(value_ND, axis=0), rtol=1e-13)
    np.testing.assert_allclose(joined.variance_D, np.nanvar(value_ND, axis=0), rtol=1e-9)
    np.testing.assert_array_equal(joined.low_D, np.nanmin(value_ND, axis=0))


def test_a_constant_dimension_becomes_zero_and_stays_bounded_where_it_is_not_constant() -> None:
    value_ND = np.random.default_rng(0).normal(0.0, 2.0, (100, 4)).astype(np.float16)
    value_ND[:, 2] = 0.1
    standard = StandardScaler.of_embeddings(StreamedMoments.of(value_ND))
    standardised = standard.apply(value_ND)
    assert standardised.dtype == np.float32
    assert np.abs(standardised[:, 2]).max() < 1e-4
    np.testing.assert_allclose(standardised[:, [0, 1, 3]].std(axis=0), 1.0, rtol=1e-3)
    elsewhere = np.full((1, 4), 2.1)
    assert abs(standard.apply(elsewhere)[0, 2]) < 500  # 2 over sqrt(1e-5 * 3)


def test_a_pair_whose_reward_disagrees_with_its_label_is_not_trained_on() -> None:
    clean = planted_blocks(num_blocks=1, size=20, noise=0.0)
    block = clean.read(0)
    assert block.agrees_NK.tolist() == [[True, False]] * 20  # the second reward is the opposite of the first
    wrong_N2D = block.e_N2D.copy()
    r_N2K = block.r_N2K.copy()
    spoilt = [1, 2, 7]  # none is held out: 0, 5, 10 and 15 are
    wrong_N2D[spoilt] = 1000.0
    r_N2K[spoilt] = r_N2K[spoilt][:, ::-1]
    noisy = PairBlocks(1, lambda number: PairBlock(wrong_N2D, r_N2K[:, :, :1], block.heldout_N))
    kept = np.setdiff1d(np.arange(20), spoilt)
    without = PairBlocks(
        1, lambda number: PairBlock(block.e_N2D[kept], block.r_N2K[kept][:, :, :1], block.heldout_N[kept])
    )
    found, expected = measure_corpus(noisy), measure_corpus(without)
    assert (found.num_pairs, found.num_agreeing_K.tolist()) == (16, [13])
    fits = [fit_energies(blocks, settings=QUICK).network.state_dict() for blocks in (noisy, without)]
    assert all(torch.equal(fits[0][name], fits[1][name]) for name in fits[0])
    np.testing.assert_array_equal(found.low_K, expected.low_K)


def test_gradients_of_several_energies_are_those_of_one_loss_over_all() -> None:
    block = planted_blocks(num_blocks=1, size=12, noise=1.0).read(0)
    moments = measure_corpus(PairBlocks(1, lambda number: block))
    batch = ResponseBatch.of(block, moments)
    settings = EnergySettings(num_negatives=5)
    network = EnergyNetwork(block.e_N2D.shape[2], num_energies=2).eval()
    torch.manual_seed(7)
    found = add_gradients(network, batch, settings)
    gradients = {name: parameter.grad.clone() for name, parameter in network.named_parameters()}  # type: ignore[union-attr]
    network.zero_grad()
    torch.manual_seed(7)
    part_BH, total, num_terms = network.embed(batch.e_BD), torch.zeros(()), 0
    for k, branch in enumerate(network.energies):
        kept_B = batch.agrees_BK[:, k]
        num_terms += int(kept_B.sum())
        noise_BM = settings.sigma * torch.randn(int(kept_B.sum()), 6)
        noise_BM[:, 0] *= settings.beta
        energy_BM = branch(part_BH[kept_B], batch.r_BK[kept_B, k, None] + noise_BM)
        loss_B = contrastive_loss(energy_BM, -0.5 * (noise_BM / settings.sigma) ** 2, torch.ones(6))
        total = total + (loss_B + settings.regularisation * (energy_BM**2).mean(dim=1)).sum()
    (total / num_terms).backward()
    assert num_terms == batch.agrees_BK.sum() and 0 < batch.agrees_BK[:, 1].sum() < len(batch.r_BK)
    assert found == pytest.approx(float(total.detach()) / num_terms, rel=1e-6)
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad)


def test_nothing_that_agrees_is_an_error_that_says_so() -> None:
    block = planted_blocks(num_blocks=1, size=20, noise=0.0).read(0)
    opposite = PairBlocks(1, lambda number: replace(block, r_N2K=block.r_N2K[:, :, 1:]))
    with pytest.raises(DataError, match="None of 16 training pairs has a chosen response with the higher reward"):
        fit_energies(opposite, settings=QUICK)


def test_the_same_seed_gives_the_same_bits_and_leaves_the_callers_random_numbers_alone() -> None:
    blocks = planted_blocks()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = fit_energies(blocks, settings=QUICK)
    assert torch.equal(torch.rand(1), expected)
    second, other = fit_energies(blocks, settings=QUICK), fit_energies(blocks, settings=replace(QUICK, seed=1))
    assert first.losses == second.losses != other.losses
    assert first.heldout_losses == second.heldout_losses
    assert Refiner.of(first).to_files() == Refiner.of(second).to_files()


def test_a_fit_that_goes_on_after_an_epoch_ends_with_the_same_bits_and_a_damaged_state_is_none() -> None:
    blocks = planted_blocks(num_blocks=2)
    states: list[bytes] = []
    progress: list[FitProgress] = []
    whole = fit_energies(blocks, settings=QUICK, keep=states.append, on_progress=progress.append)
    total_pairs = progress[0].total_pairs
    assert progress[0] == FitProgress(0, total_pairs, 0) and progress[-1] == FitProgress(total_pairs, total_pairs, 2)
    assert sorted(progress, key=lambda each: (each.epochs, each.pairs)) == progress
    assert len(states) == 2
    for epoch, state in enumerate(states, start=1):
        progress.clear()
        again = fit_energies(blocks, settings=QUICK, kept=state, on_progress=progress.append)
        assert progress[0] == FitProgress(epoch * total_pairs // 2, total_pairs, epoch)
        assert again.losses == whole.losses and again.heldout_losses == whole.heldout_losses
        assert Refiner.of(again).to_files() == Refiner.of(whole).to_files()
    progress.clear()
    again = fit_energies(blocks, settings=QUICK, kept=states[1][:-9] + bytes(9), on_progress=progress.append)
    assert progress[0].epochs == 0
    assert Refiner.of(again).to_files() == Refiner.of(whole).to_files()


def test_energies_learn_the_reward_that_the_embedding_tells_and_stop_when_it_is_learnt() -> None:
    blocks = first_reward(planted_blocks(num_blocks=6, noise=1.0))
    told: list[tuple[int, float, float | None]] = []
    settings = replace(QUICK, learning_rate=2e-3, epochs=8)
    fit = fit_energies(blocks, settings=settings, on_epoch=lambda *facts: told.append(facts))
    assert [epoch for epoch, _, _ in told] == list(range(1, len(told) + 1))
    assert fit.best_epoch == 1 + int(np.argmin(fit.heldout_losses))
    assert len(told) == min(8, fit.best_epoch + settings.patience)
    assert min(fit.heldout_losses) < fit.heldout_losses[0]
    block = blocks.read(100)  # not trained on
    refined = Refiner.of(fit).refine(block.e_N2D[:, 0], block.r_N2K[:, 0])
    direction_D = np.random.default_rng(0).standard_normal(8) / 8**0.5
    truth_N = 3 + 2 * block.e_N2D[:, 0].astype(np.float64) @ direction_D
    base, found = (np.corrcoef(truth_N, reward_N)[0, 1] for reward_N in (block.r_N2K[:, 0, 0], refined.reward_NK[:, 0]))
    # The base reward is the truth and noise, sd 1, which the embedding does not tell.
    assert found > base + 0.05


def test_a_head_without_a_pair_to_learn_from_keeps_its_reward() -> None:
    blocks = planted_blocks(noise=0.0)
    refiner = Refiner.of(fit_energies(blocks, settings=replace(QUICK, epochs=1)))
    assert refiner.trained_K.tolist() == [True, False]
    block = blocks.read(0)
    refined = refiner.refine(block.e_N2D[:, 0], block.r_N2K[:, 0])
    np.testing.assert_array_equal(refined.reward_NK[:, 1], block.r_N2K[:, 0, 1])
    assert np.isnan(refined.energy_KNG[1]).all() and np.isfinite(refined.energy_KNG[0]).all()
    assert not np.array_equal(refined.reward_NK[:, 0], block.r_N2K[:, 0, 0])


def test_a_refiner_comes_back_from_its_files_as_it_was() -> None:
    blocks = planted_blocks(num_blocks=2)
    refiner = Refiner.of(fit_energies(blocks, settings=replace(QUICK, epochs=1)))
    tensors, description = refiner.to_files()
    again = Refiner.from_files(tensors, description, where="run/refine")
    block = blocks.read(0)
    expected, found = (each.refine(block.e_N2D[:, 1], block.r_N2K[:, 1]) for each in (refiner, again))
    for name, value in vars(expected).items():
        np.testing.assert_array_equal(vars(found)[name], value)
    assert again.to_files() == (tensors, description)
    with pytest.raises(ModelError, match=r"run/refine is damaged"):
        Refiner.from_files(tensors[:100], description, where="run/refine")
    with pytest.raises(ModelError, match="embeddings of width 8; found 5"):
        refiner.refine(block.e_N2D[:, 0, :5], block.r_N2K[:, 0])
