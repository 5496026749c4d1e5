//! How steps that may take minutes are told. Who calls says how it looks.

/// Tells people what is done, and why, while it is done.
pub trait Progress {
    /// Announces `work`, does it, and tells how it ended.
    fn step(
        &self,
        name: &str,
        why: &str,
        work: &mut dyn FnMut() -> Result<String, String>,
    ) -> Result<String, String>;

    /// A remark.
    fn note(&self, text: &str);
}
