//! The calls.

use std::fmt;
use std::sync::Arc;

use kes_api::wire::KeyType;
use kes_api::wire::{
    self, ApiInfo, AssignRequest, AuditEvent, Body, DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse,
    ErrorEvent, GenerateRequest, GenerateResponse, HmacRequest, HmacResponse, IdentityInfo, ImportRequest, KeyInfo,
    PolicyInfo, PolicyRules, SecretBytes, SelfInfo, Status, Version,
};
use kes_identity::Identity;
use reqwest::Method;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::builder::{BuildError, Builder};
use crate::endpoint::Endpoints;
use crate::error::{Cause, Error, Reason, ServerError};
use crate::log::LogStream;
use crate::metrics::Metrics;
use crate::name;
use crate::pages::{Listing, Names};
use crate::retry::{self, Outcome, Timing};
use crate::tls::Shown;
use crate::transport::{Answer, Opened, Request, Streaming, Transport};

/// A client of one or several kes servers. Cheap to clone; clones share connections, certificate and the knowledge of
/// which endpoint is down.
#[derive(Clone)]
pub struct Client {
    pub(crate) transport: Arc<Transport>,
    pub(crate) endpoints: Arc<Endpoints>,
    pub(crate) timing: Timing,
    pub(crate) repeat_writes: bool,
}

impl Client {
    /// Starts the settings of a client.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The identity that servers see, if the client has a certificate.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        self.transport.current().loaded.identity().cloned()
    }

    /// The endpoints in the order they were named, as `https://host:port`.
    pub fn endpoints(&self) -> impl Iterator<Item = &str> {
        self.endpoints.iter().map(super::endpoint::Endpoint::as_str)
    }

    /// A client of this endpoint alone, by its place in the order they were named; `None` behind the last. For what
    /// belongs to one server rather than to all: its metrics, its logs. It shares certificate and connections.
    #[must_use]
    pub fn only(&self, endpoint: usize) -> Option<Self> {
        let endpoint = self.endpoints.iter().nth(endpoint)?.clone();
        Some(Self { endpoints: Arc::new(Endpoints::new(vec![endpoint])), ..self.clone() })
    }

    /// Reads certificate, key and CA files again, and goes on with fresh connections. Requests in flight are not
    /// disturbed; after an error the client goes on as before.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn reload(&self) -> Result<(), BuildError> {
        self.transport.reload()
    }

    /// `GET /version`: the server's version. Needs no rights.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn version(&self) -> Result<Version, Error> {
        self.get("/version").await
    }

    /// `GET /version`, with what the connection tells beside the answer: for diagnosis, by a client of one endpoint.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn look(&self) -> Result<Look, Error> {
        let request = Request::get("/version");
        let answer = self.accepted(&request).await?;
        let version: Version =
            serde_json::from_slice(&answer.body).map_err(|error| self.misunderstood(&request, Cause::of(error)))?;
        let certificate = self.transport.current().observed.recall(self.endpoints.get(0).host());
        let clock = answer.date.and_then(|date| OffsetDateTime::parse(&date, &Rfc2822).ok());
        Ok(Look { version: version.version, certificate, clock })
    }

    /// `GET /v1/ready`: whether the server and its key store can serve.
    ///
    /// # Errors
    /// [`Reason::StoreUnreachable`] or [`Reason::StoreUnavailable`] if the key store cannot; else [`Error`].
    pub async fn ready(&self) -> Result<(), Error> {
        self.accepted(&Request::get("/v1/ready")).await.map(drop)
    }

    /// `GET /v1/status`: the server's condition. A key store that fails is said by members of the answer.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn status(&self) -> Result<Status, Error> {
        self.get("/v1/status").await
    }

    /// `GET /v1/api`: the routes of the server and their limits.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn apis(&self) -> Result<Vec<ApiInfo>, Error> {
        self.get("/v1/api").await
    }

    /// `GET /v1/metrics`: the old server's families, typed.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn metrics(&self) -> Result<Metrics, Error> {
        let request = Request::get("/v1/metrics");
        let text = self.text(&request).await?;
        Metrics::parse(&text).map_err(|what| self.misunderstood(&request, Cause::text(what)))
    }

    /// `GET /v1/metrics`: the whole answer in Prometheus's text format, for families that [`Metrics`] does not have.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn metrics_text(&self) -> Result<String, Error> {
        self.text(&Request::get("/v1/metrics")).await
    }

    /// `GET /v1/metrics?view=full`: as [`Client::metrics_text`], with the operator's families behind the others. A server
    /// that has no such view answers with the plain one.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn metrics_full_text(&self) -> Result<String, Error> {
        self.text(&Request::get("/v1/metrics?view=full")).await
    }

    /// Creates a key that the server makes up.
    ///
    /// # Errors
    /// [`Reason::KeyExists`]; [`Error`]. After [`Error::Connection`] or [`Error::Timeout`] the key may exist: see
    /// [`Builder::repeat_writes`].
    pub async fn create_key(&self, name: &str) -> Result<(), Error> {
        let path = format!("/v1/key/create/{}", name::check("key name", name)?);
        self.write(Request { method: Method::POST, ..Request::get(path) }, Some(Reason::KeyExists)).await
    }

    /// Creates a key from 32 bytes that the caller brings.
    ///
    /// # Errors
    /// [`Reason::KeyExists`]; a 406 for a wrong length or a cipher that the server does not have; [`Error`].
    pub async fn import_key(&self, name: &str, cipher: KeyType, key: SecretBytes) -> Result<(), Error> {
        let cipher = cipher.algorithm().to_owned();
        let mut request = key_request(Method::POST, "import", name, &ImportRequest { key, cipher })?;
        request.repeatable = false;
        self.accepted(&request).await.map(drop)
    }

    /// What is known of a key: cipher, age, maker. Not the key.
    ///
    /// # Errors
    /// [`Reason::KeyNotFound`]; [`Error`].
    pub async fn describe_key(&self, name: &str) -> Result<KeyInfo, Error> {
        let mut info: KeyInfo = self.get(format!("/v1/key/describe/{}", name::check("key name", name)?)).await?;
        if info.algorithm.is_empty() {
            info.algorithm = KeyType::Aes256.algorithm().to_owned(); // answers of 2023-10-03 leave it out
        }
        Ok(info)
    }

    /// Deletes a key, at once and for ever: nothing that was sealed with it opens again.
    ///
    /// # Errors
    /// [`Reason::KeyNotFound`] from most key stores; [`Error`].
    pub async fn delete_key(&self, name: &str) -> Result<(), Error> {
        let path = format!("/v1/key/delete/{}", name::check("key name", name)?);
        self.write(Request { method: Method::DELETE, ..Request::get(path) }, Some(Reason::KeyNotFound)).await
    }

    /// A new data key: 32 bytes to encrypt with, and the same bytes sealed by the named key, to be stored.
    ///
    /// `context` is bound to the sealed form: [`Client::decrypt`] needs the same bytes.
    ///
    /// # Errors
    /// [`Reason::KeyNotFound`]; [`Error`].
    pub async fn generate_key(&self, name: &str, context: &[u8]) -> Result<GenerateResponse, Error> {
        let body = GenerateRequest { context: context.to_vec() };
        self.exchange(key_request(Method::POST, "generate", name, &body)?).await
    }

    /// Seals a plaintext of up to about 749 900 bytes (with its context; the server takes bodies of 1 MB).
    ///
    /// # Errors
    /// [`Reason::KeyNotFound`]; [`Error`].
    pub async fn encrypt(&self, name: &str, plaintext: SecretBytes, context: &[u8]) -> Result<Vec<u8>, Error> {
        let body = EncryptRequest { plaintext, context: context.to_vec() };
        let answer: EncryptResponse = self.exchange(key_request(Method::POST, "encrypt", name, &body)?).await?;
        Ok(answer.ciphertext)
    }

    /// Opens a ciphertext of [`Client::encrypt`] or a sealed data key of [`Client::generate_key`].
    ///
    /// # Errors
    /// [`Reason::Decrypt`] if key, ciphertext or context do not belong together; [`Reason::KeyNotFound`]; [`Error`].
    pub async fn decrypt(&self, name: &str, ciphertext: &[u8], context: &[u8]) -> Result<SecretBytes, Error> {
        let body = DecryptRequest { ciphertext: ciphertext.to_vec(), context: context.to_vec() };
        let answer: DecryptResponse = self.exchange(key_request(Method::POST, "decrypt", name, &body)?).await?;
        Ok(answer.plaintext)
    }

    /// HMAC-SHA256 of a message under the named key: 32 bytes, the same for ever. Callers derive secrets from it, so
    /// both are wiped.
    ///
    /// # Errors
    /// [`Reason::HmacUnsupported`] for keys of releases before 2024; [`Reason::KeyNotFound`]; [`Error`].
    pub async fn hmac(&self, name: &str, message: SecretBytes) -> Result<SecretBytes, Error> {
        let answer: HmacResponse =
            self.exchange(key_request(Method::PUT, "hmac", name, &HmacRequest { message })?).await?;
        Ok(answer.hmac)
    }

    /// The names of all keys that begin with `prefix` (empty: of all keys), sorted, page by page.
    ///
    /// # Errors
    /// [`Error::Name`] for a prefix that no name has. The rest comes from [`Names`].
    pub fn list_keys(&self, prefix: &str) -> Result<Names, Error> {
        Names::new(self.clone(), Listing::Keys, name::check_prefix("key name", prefix)?)
    }

    /// When and by whom a policy was made.
    ///
    /// # Errors
    /// [`Reason::PolicyNotFound`]; [`Error`].
    pub async fn describe_policy(&self, name: &str) -> Result<PolicyInfo, Error> {
        self.get(format!("/v1/policy/describe/{}", name::check("policy name", name)?)).await
    }

    /// The rules of a policy.
    ///
    /// # Errors
    /// [`Reason::PolicyNotFound`]; [`Error`].
    pub async fn read_policy(&self, name: &str) -> Result<PolicyRules, Error> {
        self.get(format!("/v1/policy/read/{}", name::check("policy name", name)?)).await
    }

    /// The names of the policies that begin with `prefix`, sorted.
    ///
    /// # Errors
    /// As [`Client::list_keys`].
    pub fn list_policies(&self, prefix: &str) -> Result<Names, Error> {
        Names::new(self.clone(), Listing::Policies, name::check_prefix("policy name", prefix)?)
    }

    /// The policy of an identity, or that it is the admin.
    ///
    /// # Errors
    /// [`Reason::IdentityNotFound`]; [`Error`].
    pub async fn describe_identity(&self, identity: &Identity) -> Result<IdentityInfo, Error> {
        self.get(format!("/v1/identity/describe/{}", name::check("identity", identity.as_str())?)).await
    }

    /// The caller's own identity, policy and rules. Needs no rights.
    ///
    /// # Errors
    /// [`Reason::IdentityNotFound`] if the server knows no policy for the caller; [`Error`].
    pub async fn describe_self(&self) -> Result<SelfInfo, Error> {
        self.get("/v1/identity/self/describe").await
    }

    /// The identities that the server knows and that begin with `prefix`, sorted; the admin's is among them.
    ///
    /// # Errors
    /// As [`Client::list_keys`].
    pub fn list_identities(&self, prefix: &str) -> Result<Names, Error> {
        Names::new(self.clone(), Listing::Identities, name::check_prefix("identity", prefix)?)
    }

    /// Makes a policy, or gives one new rules; its members keep it. It holds until the server restarts or reloads its
    /// configuration.
    ///
    /// # Errors
    /// A 400 for a deny pattern that is malformed; [`Reason::NotAllowed`] for everybody but the admin and whom a rule
    /// names the route; a 501 from servers that take no such changes; [`Error`].
    pub async fn create_policy(&self, name: &str, policy: &wire::PolicyRequest) -> Result<(), Error> {
        let path = format!("/v1/policy/write/{}", name::check("policy name", name)?);
        self.write(Request::with_body(Method::POST, path, wire::encode(policy)), None).await
    }

    /// Gives an identity a policy in the place of the one that it has. As durable as [`Client::create_policy`].
    ///
    /// # Errors
    /// [`Reason::PolicyNotFound`]; a 400 for the admin or a TLS proxy, a 403 for the caller itself; [`Error`].
    pub async fn assign_policy(&self, policy: &str, identity: &str) -> Result<(), Error> {
        let path = format!("/v1/policy/assign/{}", name::check("policy name", policy)?);
        let body = AssignRequest { identity: name::check("identity", identity)?.to_owned() };
        self.write(Request::with_body(Method::POST, path, wire::encode(&body)), None).await
    }

    /// Removes a policy: its members have none then. As durable as [`Client::create_policy`].
    ///
    /// # Errors
    /// [`Reason::PolicyNotFound`]; [`Error`].
    pub async fn delete_policy(&self, name: &str) -> Result<(), Error> {
        let path = format!("/v1/policy/delete/{}", name::check("policy name", name)?);
        self.write(Request { method: Method::DELETE, ..Request::get(path) }, Some(Reason::PolicyNotFound)).await
    }

    /// Takes an identity's policy away. As durable as [`Client::create_policy`].
    ///
    /// # Errors
    /// [`Reason::IdentityNotFound`]; a 400 for the admin; [`Error`].
    pub async fn delete_identity(&self, identity: &str) -> Result<(), Error> {
        let path = format!("/v1/identity/delete/{}", name::check("identity", identity)?);
        self.write(Request { method: Method::DELETE, ..Request::get(path) }, Some(Reason::IdentityNotFound)).await
    }

    /// Follows the audit log from now on: one event per request. Dropping the stream ends it.
    ///
    /// # Errors
    /// [`Error`] if the server refuses or cannot be reached.
    pub async fn audit_log(&self) -> Result<LogStream<AuditEvent>, Error> {
        self.stream("/v1/log/audit").await
    }

    /// Follows the error log from now on.
    ///
    /// # Errors
    /// As [`Client::audit_log`].
    pub async fn error_log(&self) -> Result<LogStream<ErrorEvent>, Error> {
        self.stream("/v1/log/error").await
    }

    async fn get<T: DeserializeOwned>(&self, path: impl Into<String>) -> Result<T, Error> {
        self.exchange(Request::get(path)).await
    }

    async fn exchange<T: DeserializeOwned>(&self, request: Request) -> Result<T, Error> {
        let answer = self.accepted(&request).await?;
        serde_json::from_slice(&answer.body).map_err(|error| self.misunderstood(&request, Cause::of(error)))
    }

    async fn text(&self, request: &Request) -> Result<String, Error> {
        let answer = self.accepted(request).await?;
        String::from_utf8(answer.body.to_vec()).map_err(|error| self.misunderstood(request, Cause::of(error)))
    }

    /// A change: with `repeat_writes`, `done` in answer to a repeated try is the success of an earlier one.
    async fn write(&self, mut request: Request, done: Option<Reason>) -> Result<(), Error> {
        request.repeatable = self.repeat_writes;
        let Outcome { answer, repeated } = self.run(&request).await;
        match answer.and_then(|answer| self.check(&request, answer)) {
            Err(error) if repeated && done.is_some() && error.reason() == done => Ok(()),
            result => result.map(drop),
        }
    }

    /// Sends the request and turns every answer but 200 into an error.
    pub(crate) async fn accepted(&self, request: &Request) -> Result<Answer, Error> {
        self.run(request).await.answer.and_then(|answer| self.check(request, answer))
    }

    async fn run(&self, request: &Request) -> Outcome<Answer> {
        retry::run(self.transport.as_ref(), &self.endpoints, self.timing, request).await
    }

    fn check(&self, request: &Request, answer: Answer) -> Result<Answer, Error> {
        match answer.status {
            200 => Ok(answer),
            400.. => Err(refusal(&answer).into()),
            // Departs from upstream: the official client takes a redirect or an empty 2xx for success.
            status => Err(self.misunderstood(request, Cause::text(format!("its status is {status}")))),
        }
    }

    async fn stream<T: DeserializeOwned>(&self, path: &str) -> Result<LogStream<T>, Error> {
        let request = Request { streams: true, ..Request::get(path) };
        let outcome = retry::run(&Streaming(&self.transport), &self.endpoints, self.timing, &request).await;
        match outcome.answer? {
            Opened::Stream(response) => Ok(LogStream::new(response, self.call(&request))),
            Opened::Refused(answer) => match self.check(&request, answer) {
                Ok(_) => Err(self.misunderstood(&request, Cause::text("it is no stream"))),
                Err(error) => Err(error),
            },
        }
    }

    pub(crate) fn misunderstood(&self, request: &Request, source: Cause) -> Error {
        Error::Answer { call: self.call(request), source }
    }

    /// The request's name in errors that no single endpoint is to blame for.
    fn call(&self, request: &Request) -> String {
        request.call(self.endpoints.get(0))
    }
}

/// What a connection tells of its server: [`Client::look`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Look {
    /// The server's version.
    pub version: String,
    /// The server's certificate.
    pub certificate: Option<Shown>,
    /// The server's clock, to the second.
    pub clock: Option<OffsetDateTime>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("endpoints", &self.endpoints().collect::<Vec<_>>())
            .field("identity", &self.identity())
            .finish_non_exhaustive()
    }
}

fn key_request(method: Method, operation: &str, name: &str, body: &impl Body) -> Result<Request, Error> {
    let path = format!("/v1/key/{operation}/{}", name::check("key name", name)?);
    Ok(Request::with_body(method, path, wire::encode(body)))
}

/// The error behind a status of 400 and above.
///
/// Departs from upstream: an answer that says JSON and is none keeps its status; the official client loses it.
fn refusal(answer: &Answer) -> ServerError {
    let text = String::from_utf8_lossy(&answer.body);
    if answer.content_type.starts_with("application/json")
        && let Ok(wire::ErrorMessage { message, error }) = serde_json::from_str(&text)
    {
        return ServerError::new(answer.status, if error.is_empty() { message } else { error });
    }
    ServerError::new(answer.status, text)
}
