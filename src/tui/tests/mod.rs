//! Frames, keys and safety rules of the cockpit.
