//! Which PyTorch is installed: the usual index's brings gigabytes for accelerators, which a run on processors never touches.

/// Where PyTorch's own builds are.
const WHEELS: &str = "https://download.pytorch.org/whl";

/// PyTorch's own packages: those that its index has several builds of.
const OWN: [&str; 3] = ["torch", "torchvision", "torchaudio"];
/// Packages that bring PyTorch with them.
const BRING_IT: [&str; 13] = [
    "accelerate",
    "fastai",
    "lightning",
    "open-clip-torch",
    "peft",
    "pytorch-lightning",
    "sentence-transformers",
    "skorch",
    "timm",
    "torchmetrics",
    "trl",
    "ultralytics",
    "torchdata",
];
/// Packages that are for one build of PyTorch only.
const BOUND: [&str; 6] = ["vllm", "xformers", "flash-attn", "bitsandbytes", "deepspeed", "torch-xla"];

/// What is installed first, in a layer of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Torch {
    /// Requirements, as pip takes them.
    pub lines: Vec<String>,
    /// The index they come from; none: the usual one.
    pub index: Option<String>,
    /// Whether somebody said so.
    pub is_said: bool,
}

impl Torch {
    /// What these requirements want of PyTorch. `said` is an index's address, a build that PyTorch's own has (`cpu`, `cu126`), or `pypi`;
    /// where it is absent, `gpus` decides.
    pub fn choose(requirements: &[String], said: Option<&str>, gpus: u32) -> Option<Self> {
        let names: Vec<String> = requirements.iter().map(|line| name_of(line)).collect();
        let is_one_of = |list: &[&str]| names.iter().any(|name| list.contains(&name.as_str()));
        let own = requirements.iter().zip(&names).filter(|(_, name)| OWN.contains(&name.as_str()));
        let mut lines: Vec<String> = own.map(|(line, _)| line.clone()).collect();
        lines.dedup();
        let is_elsewhere = lines.iter().any(|line| line.contains('@'));
        if is_elsewhere || is_one_of(&BOUND) && said.is_none() {
            return None;
        }
        if lines.is_empty() {
            if !is_one_of(&BRING_IT) {
                return None;
            }
            lines.push("torch".to_owned());
        }
        let index = match said {
            Some("pypi") => None,
            Some(url) if url.contains("://") => Some(url.to_owned()),
            Some(build) => Some(format!("{WHEELS}/{build}")),
            None => (gpus == 0).then(|| format!("{WHEELS}/cpu")),
        };
        Some(Self { lines, index, is_said: said.is_some() })
    }
}

/// The name that a requirement begins with, as names are compared (PEP 503).
fn name_of(line: &str) -> String {
    let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c))).unwrap_or(line.len());
    line[..end].to_lowercase().replace(['_', '.'], "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_is_what_the_run_asks_for() {
        let choose = |lines: &[&str], said, gpus| {
            let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            Torch::choose(&lines, said, gpus).map(|torch| (torch.lines.join(" "), torch.index.unwrap_or_default()))
        };
        let some = |lines: &str, index: &str| Some((lines.to_owned(), index.to_owned()));
        let cpu = "https://download.pytorch.org/whl/cpu";
        assert_eq!(choose(&["idna", "torch>=2.1", "TorchVision"], None, 0), some("torch>=2.1 TorchVision", cpu));
        assert_eq!(choose(&["torch==2.4"], None, 1), some("torch==2.4", ""));
        assert_eq!(choose(&["pytorch_lightning"], None, 0), some("torch", cpu));
        assert_eq!(choose(&["torch"], Some("cu126"), 0), some("torch", "https://download.pytorch.org/whl/cu126"));
        assert_eq!(choose(&["torch"], Some("https://e.com/simple"), 0), some("torch", "https://e.com/simple"));
        assert_eq!(choose(&["torch"], Some("pypi"), 0), some("torch", ""));
        for nothing in [&["idna"][..], &["torch @ https://e.com/t.whl"], &["torch", "vllm"], &[]] {
            assert_eq!(choose(nothing, None, 0), None, "{nothing:?}");
        }
    }
}
