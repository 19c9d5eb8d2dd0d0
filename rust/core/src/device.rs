//! The device's side of every ceremony, as a value that each step changes or leaves alone.
//!
//! The driver makes what a step changed durable before it sends anything (DESIGN §3, device rules).

use rand_core::OsRng;

use crate::answer::{authenticate, Answer};
use crate::commitment::Commitment;
use crate::device_key::{device_key, device_secret};
use crate::error::{Error, Result};
use crate::group::{check_name, Group};
use crate::kid::Kid;
use crate::message::{compact, is_reserved, MAX_MESSAGE};
use crate::offer::{Kind, Offer};
use crate::polynomial::Share;
use crate::request::{write_request, Cosign, Request};
use crate::round_two::{commit, sign, Nonces, Request as Package};
use crate::secret::{DeviceSecret, MacKey};
use crate::sign::{aggregate, verify};
use crate::suite::Taproot;

/// The one-time permission to claim a key.
pub struct Token {
    pub(crate) key: [u8; 16],
    pub(crate) code: MacKey,
}

/// One epoch as the device holds it.
pub struct Held {
    pub(crate) group: Group,
    pub(crate) share: Share,
    pub(crate) channel: MacKey,
    pub(crate) offer_id: [u8; 16],
    pub(crate) escrow: Vec<u8>,
}

/// An offered epoch, kept beside the current one until the cosigner says which of them stands.
pub struct Pending {
    pub(crate) held: Held,
    pub(crate) secret: DeviceSecret,
    pub(crate) proof: Option<Vec<u8>>,
}

/// Everything one device keeps for one key.
pub struct Device {
    pub(crate) user: String,
    pub(crate) token: Option<Token>,
    pub(crate) request: Option<DeviceSecret>,
    pub(crate) current: Option<Held>,
    pub(crate) pending: Option<Pending>,
    // Not kept in the file: whoever calls `enrol` says so.
    reclaiming: bool,
}

/// A signature under way: nonces that one answer consumes.
pub struct Round {
    nonces: Nonces,
    asked: Cosign,
}

/// Whose channel key authenticates a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// The current epoch.
    Current,
    /// The enrolment code: before the first commit, and when the application authorises a claim anew.
    Code,
    /// The offered epoch.
    Pending,
}

impl Held {
    fn kid(&self) -> Kid {
        Kid {
            key: self.group.key_id(),
            epoch: self.group.epoch(),
        }
    }

    fn participant(&self) -> Result<u16> {
        self.group.number_of(self.group.user())
    }
}

impl Device {
    /// A device that holds nothing yet.
    pub fn new(user: &str) -> Result<Self> {
        check_name(user)?;
        if user == "server" {
            return Err(Error::request("the name 'server' is the vault's own"));
        }
        Ok(Self {
            user: user.into(),
            token: None,
            request: None,
            current: None,
            pending: None,
            reclaiming: false,
        })
    }

    /// The user whose device this is.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The id of the key this device holds, is offered, or may claim.
    #[must_use]
    pub fn key_id(&self) -> Option<[u8; 16]> {
        let held = self
            .current
            .as_ref()
            .or(self.pending.as_ref().map(|pending| &pending.held));
        held.map(|held| held.group.key_id())
            .or(self.token.as_ref().map(|token| token.key))
    }

    /// The group at the current epoch.
    #[must_use]
    pub fn group(&self) -> Option<&Group> {
        self.current.as_ref().map(|held| &held.group)
    }

    /// The current epoch; 0 before the first commit.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.group().map_or(0, Group::epoch)
    }

    /// The offered epoch, while one is pending.
    #[must_use]
    pub fn pending_epoch(&self) -> Option<u64> {
        self.pending
            .as_ref()
            .map(|pending| pending.held.group.epoch())
    }

    /// Whether the pending offer has its proof.
    #[must_use]
    pub fn has_proof(&self) -> bool {
        self.pending
            .as_ref()
            .is_some_and(|pending| pending.proof.is_some())
    }

    /// Whether a request waits for its offer.
    #[must_use]
    pub fn is_requesting(&self) -> bool {
        self.request.is_some()
    }

    /// Whether an enrolment token is kept.
    #[must_use]
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Takes an enrolment token, `<key id hex>.<code hex>`; the newest one replaces an older.
    pub fn take_token(&mut self, token: &str) -> Result<()> {
        let refusal = || Error::request("an enrolment token is <32 hex digits>.<64 hex digits>");
        let (key, code) = token.split_once('.').ok_or_else(refusal)?;
        let key = crate::wire::unhex(key).map_err(|_| refusal())?;
        let code = crate::wire::unhex::<32>(code).map_err(|_| refusal())?;
        if let Some(held) = self
            .current
            .as_ref()
            .or(self.pending.as_ref().map(|p| &p.held))
        {
            if held.group.key_id() != key {
                return Err(Error::request(
                    "the enrolment token is for another key than this device's",
                ));
            }
        }
        // A request made under another code would wait for an answer that cannot come.
        if self.token.as_ref().is_some_and(|old| old.key != key) {
            self.request = None;
        }
        self.token = Some(Token {
            key,
            code: MacKey::from_slice(&code)?,
        });
        Ok(())
    }

    /// Draws the key of the next offer, if none waits for an answer. True: make it durable.
    pub fn prepare(&mut self) -> bool {
        let fresh = self.request.is_none();
        if fresh {
            self.request = Some(device_secret());
        }
        fresh
    }

    fn authority(&self, speaker: Speaker) -> Result<(Kid, &MacKey)> {
        match (speaker, &self.pending, &self.current, &self.token) {
            (Speaker::Pending, Some(pending), _, _) => {
                Ok((pending.held.kid(), &pending.held.channel))
            }
            (Speaker::Pending, None, _, _) => {
                Err(Error::request("this device has no pending offer"))
            }
            (Speaker::Current, _, Some(held), _) => Ok((held.kid(), &held.channel)),
            (Speaker::Current, _, None, _) => Err(Error::request("this device is not enrolled")),
            (Speaker::Code, _, _, Some(token)) => Ok((
                Kid {
                    key: token.key,
                    epoch: 0,
                },
                &token.code,
            )),
            _ => Err(Error::request(
                "this device is not enrolled and has no enrolment token",
            )),
        }
    }

    /// Speaks under the enrolment token although an epoch is held: the application authorised the claim anew.
    pub fn reclaim(&mut self, by_code: bool) {
        self.reclaiming = by_code;
    }

    /// Who asks for offers.
    fn asker(&self) -> Speaker {
        if self.current.is_none() || self.reclaiming {
            Speaker::Code
        } else {
            Speaker::Current
        }
    }

    fn message(&self, speaker: Speaker, request: &Request) -> Result<String> {
        let (kid, key) = self.authority(speaker)?;
        Ok(compact(&kid, &write_request(request, &kid), key))
    }

    fn answer(&self, speaker: Speaker, answer: &str) -> Result<Answer> {
        let (kid, key) = self.authority(speaker)?;
        Answer::read(&authenticate(answer, &kid, key)?, &kid)
    }

    /// The `claim` or `rotate` message of the key that `prepare` drew.
    pub fn ask(&self) -> Result<String> {
        let secret = self
            .request
            .as_ref()
            .ok_or_else(|| Error::request("no request is prepared"))?;
        let device_key = device_key(secret);
        let speaker = self.asker();
        let request = if speaker == Speaker::Code {
            Request::Claim { device_key }
        } else {
            Request::Rotate { device_key }
        };
        self.message(speaker, &request)
    }

    /// Checks an offer completely and keeps it as pending. Make it durable before going on.
    pub fn accept_offer(&mut self, answer: &str) -> Result<()> {
        let secret = self
            .request
            .as_ref()
            .ok_or_else(|| Error::request("no request waits for an offer"))?;
        // Nothing but an authenticated `abandoned` or `committed` makes a pending offer go.
        if self.pending.is_some() {
            return Err(Error::request("another offer is pending; resolve it first"));
        }
        let (kid, psk) = self.authority(self.asker())?;
        let payload = authenticate(answer, &kid, psk)?;
        let offer = Offer::read(&payload).map_err(|error| match Answer::read(&payload, &kid) {
            Err(refused @ Error::Refused { .. }) => refused,
            _ => error,
        })?;
        self.check_group(&offer, &kid)?;
        let participant = offer.group.number_of(&self.user)?;
        let half = offer.open(secret, participant, psk, &kid)?;
        let share = match (&self.current, offer.kind) {
            (Some(held), Kind::Difference) => held.share.plus(&half.share)?,
            _ => half.share,
        };
        share.check(&offer.group, participant)?;
        let held = Held {
            group: offer.group,
            share,
            channel: half.channel,
            offer_id: offer.offer_id,
            escrow: half.escrow,
        };
        let secret = secret.clone();
        self.request = None;
        self.pending = Some(Pending {
            held,
            secret,
            proof: None,
        });
        Ok(())
    }

    fn check_group(&self, offer: &Offer, kid: &Kid) -> Result<()> {
        let (new, refuse) = (&offer.group, |what: &str| Err(Error::protocol(what)));
        if new.user() != self.user || new.key_id() != kid.key {
            return refuse("the offer is for another user or key");
        }
        if new.epoch() <= self.epoch().max(kid.epoch) {
            return refuse("the offer's epoch is not above the device's own");
        }
        let expected = if self.asker() == Speaker::Code {
            Kind::Share
        } else {
            Kind::Difference
        };
        if offer.kind != expected {
            return refuse("a claim is offered a whole share, a rotation a difference");
        }
        let Some(held) = &self.current else {
            return Ok(());
        };
        let old = &held.group;
        let same = old.at(new.epoch(), new.commitments().to_vec())?;
        if same != *new || old.commitments()[0] != new.commitments()[0] {
            return refuse("the offer would change the key");
        }
        if old.commitments()[1..]
            .iter()
            .zip(&new.commitments()[1..])
            .any(|(a, b)| a == b)
        {
            return refuse("the offer does not renew every commitment");
        }
        Ok(())
    }

    /// The request for the cosigner's half of the pending offer's proof.
    pub fn ask_proof(&self) -> Result<(Round, String)> {
        let pending = self.offered()?;
        let message = pending
            .held
            .group
            .proof_message(&pending.held.offer_id, &device_key(&pending.secret))?;
        self.begin(Speaker::Pending, &pending.held, message, Taproot::Untweaked)
    }

    /// Finishes the proof, verified. Make it durable before `prove` is sent.
    pub fn accept_proof(&mut self, round: Round, answer: &str) -> Result<()> {
        let answer = self.answer(Speaker::Pending, answer)?;
        let pending = self
            .pending
            .as_mut()
            .ok_or_else(|| Error::request("this device has no pending offer"))?;
        pending.proof = Some(finish(&pending.held, round, answer)?);
        Ok(())
    }

    /// The `prove` message.
    pub fn ask_commit(&self) -> Result<String> {
        let pending = self.offered()?;
        let signature = pending
            .proof
            .clone()
            .ok_or_else(|| Error::request("the offer has no proof yet"))?;
        self.prove(pending, signature)
    }

    /// The `prove` message of a device without a proof whose cosigner says that the offer is current: another copy
    /// of this device proved it. A repetition is answered without looking at the signature, and zeros commit nothing.
    pub fn ask_committed(&self) -> Result<String> {
        let pending = self.offered()?;
        let suite = pending.held.group.suite();
        self.prove(pending, vec![0; suite.signature_len()])
    }

    fn offered(&self) -> Result<&Pending> {
        self.pending
            .as_ref()
            .ok_or_else(|| Error::request("this device has no pending offer"))
    }

    fn prove(&self, pending: &Pending, signature: Vec<u8>) -> Result<String> {
        let offer_id = pending.held.offer_id;
        let request = Request::Prove {
            offer_id,
            signature,
        };
        self.message(Speaker::Pending, &request)
    }

    /// On an authenticated `committed` for the pending offer, the old epoch goes.
    pub fn accept_commit(&mut self, answer: &str) -> Result<()> {
        let Answer::Committed { offer_id } = self.answer(Speaker::Pending, answer)? else {
            return Err(Error::protocol("the answer to 'prove' is not 'committed'"));
        };
        let pending = self
            .pending
            .take_if(|pending| pending.held.offer_id == offer_id);
        let pending = pending.ok_or_else(|| Error::protocol("'committed' names another offer"))?;
        self.current = Some(pending.held);
        self.token = None;
        Ok(())
    }

    /// The `abandon` message for the pending offer, or for another that stands in the way.
    pub fn ask_abandon(&self, offer_id: Option<[u8; 16]>) -> Result<String> {
        let pending = self.pending.as_ref().map(|pending| pending.held.offer_id);
        let offer_id = offer_id
            .or(pending)
            .ok_or_else(|| Error::request("this device has no pending offer to abandon"))?;
        self.message(self.asker(), &Request::Abandon { offer_id })
    }

    /// On an authenticated `abandoned`, the pending offer of that id goes.
    pub fn accept_abandoned(&mut self, offer_id: Option<[u8; 16]>, answer: &str) -> Result<()> {
        let Answer::Abandoned { offer_id: named } = self.answer(self.asker(), answer)? else {
            return Err(Error::protocol(
                "the answer to 'abandon' is not 'abandoned'",
            ));
        };
        let pending = self.pending.as_ref().map(|pending| pending.held.offer_id);
        if offer_id.or(pending) != Some(named) {
            return Err(Error::protocol("'abandoned' names another offer"));
        }
        self.pending
            .take_if(|pending| pending.held.offer_id == named);
        Ok(())
    }

    /// The `status` message.
    pub fn ask_status(&self) -> Result<String> {
        self.message(self.asker(), &Request::Status)
    }

    /// The standing offer, if any, and whether a rotation is due.
    pub fn read_status(&self, answer: &str) -> Result<(Option<[u8; 16]>, bool)> {
        match self.answer(self.asker(), answer)? {
            Answer::State { offer_id, due } => Ok((offer_id, due)),
            _ => Err(Error::protocol("the answer to 'status' is not 'state'")),
        }
    }

    /// The request for the cosigner's half of a signature at the current epoch.
    pub fn ask_signature(&self, message: Vec<u8>, taproot: Taproot) -> Result<(Round, String)> {
        let held = self
            .current
            .as_ref()
            .ok_or_else(|| Error::request("this device is not enrolled"))?;
        if message.len() > MAX_MESSAGE {
            return Err(Error::request(format!(
                "a message to sign has at most {MAX_MESSAGE} bytes, not {}",
                message.len()
            )));
        }
        if is_reserved(&message) {
            return Err(Error::request(
                "messages that start like icehouse's own proofs are reserved",
            ));
        }
        self.begin(Speaker::Current, held, message, taproot)
    }

    /// Finishes a signature; it leaves only after it verified under the group's key.
    pub fn accept_signature(&self, round: Round, answer: &str) -> Result<Vec<u8>> {
        let answer = self.answer(Speaker::Current, answer)?;
        let held = self
            .current
            .as_ref()
            .ok_or_else(|| Error::request("this device is not enrolled"))?;
        finish(held, round, answer)
    }

    fn begin(
        &self,
        speaker: Speaker,
        held: &Held,
        message: Vec<u8>,
        taproot: Taproot,
    ) -> Result<(Round, String)> {
        let nonces = commit(&held.share, held.participant()?, &mut OsRng)?;
        let asked = Cosign {
            proof: speaker == Speaker::Pending,
            message,
            taproot,
            signers: vec![nonces.signer().clone()],
        };
        let text = self.message(speaker, &Request::Cosign(asked.clone()))?;
        Ok((Round { nonces, asked }, text))
    }
}

fn finish(held: &Held, round: Round, answer: Answer) -> Result<Vec<u8>> {
    let Answer::Cosigned { commitment, share } = answer else {
        return Err(Error::protocol("the answer to 'cosign' is not 'cosigned'"));
    };
    let own = round.nonces.commitment().clone();
    let theirs = commitment.participant;
    if theirs == own.participant {
        return Err(Error::protocol("the cosigner answers as the device itself"));
    }
    let mut commitments: Vec<Commitment> = vec![own, commitment];
    commitments.sort_by_key(|commitment| commitment.participant);
    let package = Package {
        message: &round.asked.message,
        taproot: round.asked.taproot,
        commitments: &commitments,
    };
    let number = held.participant()?;
    let z = sign(round.nonces, &held.share, &held.group, &package).map_err(|error| {
        Error::Protocol {
            what: error.to_string(),
            culprits: vec![theirs],
        }
    })?;
    let signature = aggregate(&held.group, &package, &[(number, z), (theirs, share)])?;
    verify(
        &held.group,
        &round.asked.message,
        round.asked.taproot,
        &signature,
    )?;
    Ok(signature)
}
