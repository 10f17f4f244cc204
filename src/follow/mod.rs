//! A run as a stream of events, whichever engine it is on.
