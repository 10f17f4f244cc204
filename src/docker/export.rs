//! Taking an image's layers out of the engine.
