//! The operator's tool for rings.

fn main() {}
