//! Lists and details.

use nauta::cluster::{Cause, Scope};
use nauta::diagnosis::Diagnosis as _;
use nauta::job::state::RunState;

use super::support::{Guard, namespace, script, spec, unique, user};

#[tokio::test]
async fn a_run_is_listed_with_what_it_was() {
    let cluster = user().await;
    let mut spec = spec(&unique("list"), 2);
    spec.project = unique("projekt-ä");
    spec.command = vec!["python".into(), "train me.py".into()];
    let objects = script(&spec, &namespace(), "exec sleep 600").await;
    let guard = Guard::new(&objects);
    cluster.submit(&objects).await.expect("submitted");
    let runs = cluster.list(Scope::Project(&spec.project)).await.expect("answers");
    let [run] = &runs[..] else { panic!("one run of this project: {runs:?}") };
    assert_eq!((run.name.as_str(), run.user.as_str(), run.nodes), (guard.run.as_str(), "ada", 2));
    assert_eq!(run.command, spec.command);
    assert_eq!(run.snapshot, spec.snapshot.to_string());
    assert!(run.created.is_some());
    assert!(matches!(run.state, RunState::Starting | RunState::Running), "{run:?}");
    assert!(cluster.list(Scope::All).await.expect("answers").iter().any(|run| run.name == guard.run));
    let json = serde_json::to_value(run).expect("serialises");
    assert!(json["state"].is_string(), "{json}");
}

#[tokio::test]
async fn a_name_with_a_slip_gets_the_right_one_told() {
    let cluster = user().await;
    let objects = script(&spec(&unique("slip"), 1), &namespace(), "exec sleep 600").await;
    let guard = Guard::new(&objects);
    cluster.submit(&objects).await.expect("submitted");
    let error = cluster.status(&format!("{}x", guard.run)).await.expect_err("no such run");
    assert!(matches!(error.cause(), Cause::NoSuchRun { .. }), "{error:?}");
    assert_eq!(error.hints()[0], format!("did you mean `{}`?", guard.run));
}
