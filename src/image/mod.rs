//! Images as values: the generated Dockerfile, the composed run image.

pub mod build_plan;
