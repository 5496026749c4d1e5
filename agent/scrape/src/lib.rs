//! The source `scrape`: metrics that targets expose, read in turn.
