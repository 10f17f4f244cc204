//! Finding the engine, and what is said when it is not there.
