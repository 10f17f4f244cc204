//! A verb for several runs, one after the other.

use crate::diagnosis::{Failure, Result};
use crate::output::Output;

/// Does it for each, or for the one that is meant where none is named. What goes wrong with one keeps no other from its turn;
/// gives the last failure, else the first code that is not 0.
pub(super) async fn each(
    runs: Vec<String>,
    output: &Output,
    verb: impl AsyncFn(Option<String>) -> Result<u8>,
) -> Result<u8> {
    if runs.len() < 2 {
        return verb(runs.into_iter().next()).await;
    }
    let (mut code, mut failure) = (0, None::<Failure>);
    for run in runs {
        match verb(Some(run)).await {
            Ok(other) if code == 0 => code = other,
            Ok(_) => {}
            Err(error) => {
                if let Some(earlier) = failure.replace(error) {
                    output.failure(&earlier);
                }
            }
        }
    }
    failure.map_or(Ok(code), Err)
}
