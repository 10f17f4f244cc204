//! Image builds: with BuildKit where the engine has it, with the classic builder elsewhere.
//!
//! Owns: the request, the build context on its way, BuildKit's session, and what the builders' words mean as events.
//! Does not own: the Dockerfile's text or the decision to build (`image`). Start reading at `Docker::build`.

mod agent;
mod context;
mod progress;
mod request;
mod session;

pub use request::BuiltImage;
pub use session::FindLogin;
