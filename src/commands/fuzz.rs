//! Any bytes as a run's record, which may have come with the project.

use super::record::Record;
use crate::job::state::State;

/// A record says the same once it is written anew.
pub(crate) fn record(bytes: &[u8]) {
    let Ok(record) = serde_json::from_slice::<Record>(bytes) else { return };
    let _ = (record.state(Some(State::Running)), record.state(None));
    let text = serde_json::to_value(&record).expect("text keys");
    let again: Record = serde_json::from_value(text.clone()).expect("our own");
    assert_eq!(serde_json::to_value(&again).expect("text keys"), text);
}
