//! Times of many calls, for the tables of the benches that are no statistics of single functions.

/// Milliseconds at this share of the sorted times, which are in microseconds.
pub(crate) fn at(times: &[u64], share: f64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "some hundred thousand times"
    )]
    let index = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
    #[expect(clippy::cast_precision_loss, reason = "microseconds of at most minutes")]
    let time = times.get(index).copied().unwrap_or_default() as f64;
    time / 1000.0
}
