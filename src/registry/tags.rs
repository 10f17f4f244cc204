//! The list of a repository's tags, page by page.

use reqwest::header::{HeaderMap, LINK};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;

use super::auth::{Access, Scope};
use super::client::Registry;
use super::error::RegistryError;
use super::exchange::Call;
use super::names;

/// Tags asked for at a time.
const PAGE: u32 = 1000;
/// A page of so many bytes holds more tags than were asked for.
const MAX_PAGE: u64 = 4 * 1024 * 1024;
/// A list of so many pages does not end.
const MAX_PAGES: usize = 1000;

#[derive(Deserialize)]
struct Page {
    /// `null` for an empty repository.
    tags: Option<Vec<String>>,
}

impl Registry {
    /// All tags of a repository, in the registry's order; none when the repository does not exist.
    pub async fn list_tags(&self, repository: &str) -> Result<Vec<String>, RegistryError> {
        names::check_repository(repository)?;
        let scope = Scope::new(repository, Access::Pull);
        let doing = format!("list the tags of `{repository}`");
        let mut next = Some(self.endpoint().url(&format!("{repository}/tags/list?n={PAGE}")));
        let mut tags = Vec::new();
        for _ in 0..MAX_PAGES {
            let Some(url) = next else {
                return Ok(tags);
            };
            let call = Call::new(Method::GET, url.clone(), &scope, &doing);
            let response = self.exchange(&call).await?;
            next = match response.status() {
                StatusCode::OK => self.take_page(&url, response, &mut tags).await?,
                StatusCode::NOT_FOUND if !super::classify::is_page(response.headers()) => None,
                _ => return Err(self.unexpected(&call, response).await),
            };
        }
        Err(self.lying(format!("its list of the tags of `{repository}` does not end")))
    }

    async fn take_page(
        &self,
        url: &Url,
        response: Response,
        tags: &mut Vec<String>,
    ) -> Result<Option<Url>, RegistryError> {
        let next = next_page(response.headers()).map(|link| self.endpoint().follow(url, &link)).transpose()?;
        let bytes = self.read_document(response, "a list of tags", MAX_PAGE).await?;
        tags.extend(in_page(&bytes).map_err(|_| RegistryError::NotARegistry {
            host: self.host(),
            found: "its list of tags is none".to_owned(),
        })?);
        Ok(next)
    }
}

/// The tags in a page; what is no tag is passed over.
pub(super) fn in_page(bytes: &[u8]) -> serde_json::Result<Vec<String>> {
    let page: Page = serde_json::from_slice(bytes)?;
    Ok(page.tags.unwrap_or_default().into_iter().filter(|tag| names::check_reference(tag).is_ok()).collect())
}

/// `Link: </v2/a/tags/list?last=x&n=1000>; rel="next"`.
pub(super) fn next_page(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(LINK)?.to_str().ok()?;
    let (link, parameters) = text.strip_prefix('<')?.split_once('>')?;
    parameters.contains("next").then(|| link.to_owned())
}
