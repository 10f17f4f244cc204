//! What integration tests share: real servers started for one test, and faults between them and nauta.
#![expect(unreachable_pub, reason = "shared by the modules of one test binary")]

pub mod certificates;
pub mod docker_registry;
pub mod fault_proxy;
pub mod own_process;
pub mod random;
