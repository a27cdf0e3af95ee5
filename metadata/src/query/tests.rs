//! Listings against the simplest possible listing, and their cost.

mod cost;
mod objects;
mod pages;
