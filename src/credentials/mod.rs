//! Where registry credentials come from; nothing else sees one in clear.
