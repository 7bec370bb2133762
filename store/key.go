package store

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Original is the name of the blob that holds the bytes of a medium as they
// were fetched.
const Original = "original"

// The keys of a bucket. Nothing outside this file makes or takes apart a key.
//
//	message/<AC>/<MM>.json          the Message record
//	media/<AC>/<MM>/<ME>.json       the Media record
//	media/<AC>/<MM>/<ME>/<name>     its blobs: the original and the variants
//	fitting/<AC>/<MM>/<ME>          that a picture is being fitted that may be poison
//	index/<AC>/time/<day>/<time>-<MM>             entries of the index, all empty:
//	index/<AC>/from/<number>/<day>/<time>-<MM>    the numbers are hashed, and days
//	index/<AC>/to/<number>/<day>/<time>-<MM>      and times count down, so that the
//	index/<AC>/failed/<day>/<time>-<MM>-<name>    newest message comes first
//	sent/<AC>/<MM>                  which message here a message of the provider's is
//	upstream/<AC>.json              how far the provider's copies are deleted
//	scrub.json                      how far the blobs are read
//	quarantine/<AC>/<MM>/<time>/<key>             what was damaged under a key, and is kept for people
//	selftest/<random>               what OpenMinIO probes with
//	ping                            never stored; what Ping asks for
const (
	messageRoot  = "message/"
	mediaRoot    = "media/"
	indexRoot    = "index/"
	recordSuffix = ".json"
	selfTestRoot = "selftest/"
	fittingRoot  = "fitting/"
	upstreamRoot = "upstream/"
	claimRoot    = "sent/"
	asideRoot    = "quarantine/"
	scrubKey     = "scrub.json"
	pingKey      = "ping"
)

func messageKey(account AccountSID, message MessageSID) string {
	return messageFolder(account) + message.s + recordSuffix
}

// messageFolder is the prefix of all message records of an account.
func messageFolder(account AccountSID) string { return messageRoot + account.s + "/" }

// ParseMessageKey takes the key of a Message record apart. It is false for every
// other key.
func ParseMessageKey(key string) (AccountSID, MessageSID, bool) {
	rest, isMessage := strings.CutPrefix(key, messageRoot)
	rest, isRecord := strings.CutSuffix(rest, recordSuffix)
	first, second, _ := strings.Cut(rest, "/")
	account, err1 := ParseAccountSID(first)
	message, err2 := ParseMessageSID(second)
	if !isMessage || !isRecord || err1 != nil || err2 != nil {
		return AccountSID{}, MessageSID{}, false
	}
	return account, message, true
}

// mediaFolder is the prefix of all keys of a message's media.
func mediaFolder(account AccountSID, message MessageSID) string {
	return mediaRoot + account.s + "/" + message.s + "/"
}

// MediaKey names one medium of a message.
type MediaKey struct {
	Account AccountSID
	Message MessageSID
	Media   MediaSID
}

// record is the key of the Media record.
func (k MediaKey) record() string {
	return mediaFolder(k.Account, k.Message) + k.Media.s + recordSuffix
}

// blobs is the prefix of all blobs of the medium.
func (k MediaKey) blobs() string { return mediaFolder(k.Account, k.Message) + k.Media.s + "/" }

// fitting is the key of the note that a picture is being fitted.
func (k MediaKey) fitting() string {
	return fittingRoot + k.Account.s + "/" + k.Message.s + "/" + k.Media.s
}

func claimKey(account AccountSID, upstream MessageSID) string {
	return claimRoot + account.s + "/" + upstream.s
}

// quarantineRoot is the prefix of all that is in the quarantine of an account.
func quarantineRoot(account AccountSID) string { return asideRoot + account.s + "/" }

// quarantineFolder is the prefix of what is there of a message and its media.
func quarantineFolder(account AccountSID, message MessageSID) string {
	return quarantineRoot(account) + message.s + "/"
}

// asideKey is where in a folder of the quarantine an object is put at a time.
func asideKey(folder, key string, at time.Time) string {
	return folder + at.UTC().Format("20060102T150405.000000000Z") + "/" + key
}

func upstreamKey(account AccountSID) string { return upstreamRoot + account.s + recordSuffix }

// BlobKey is the key of a medium's blob, for [MinIO.Presign].
func (s *Store) BlobKey(medium MediaKey, name string) string { return medium.blobs() + name }

// checkName accepts what may name a blob: 1 to 64 lower-case letters, digits
// and hyphens, which every file system, URL and header takes as they are.
func checkName(name string) error {
	odd := strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-")
	if name == "" || len(name) > 64 || odd != "" {
		return fmt.Errorf("malformed blob name %.70q", name)
	}
	return nil
}

// ParseMediaKey takes a key apart that belongs to a medium. The name is that of the
// blob, and empty if the key is the record's. It is false for every other key.
func ParseMediaKey(key string) (medium MediaKey, name string, ok bool) {
	rest, ok := strings.CutPrefix(key, mediaRoot)
	parts := strings.Split(rest, "/")
	switch {
	case !ok:
		return MediaKey{}, "", false
	case len(parts) == 3:
		if parts[2], ok = strings.CutSuffix(parts[2], recordSuffix); !ok {
			return MediaKey{}, "", false
		}
	case len(parts) == 4 && checkName(parts[3]) == nil:
		name = parts[3]
	default:
		return MediaKey{}, "", false
	}
	var errs [3]error
	medium.Account, errs[0] = ParseAccountSID(parts[0])
	medium.Message, errs[1] = ParseMessageSID(parts[1])
	medium.Media, errs[2] = ParseMediaSID(parts[2])
	if errs != [3]error{} {
		return MediaKey{}, "", false
	}
	return medium, name, true
}

// Identify names the medium that a message's MediaUrl<index> stands for.
// If the URL is, character for character, the address that the provider at
// Upstream gives to a medium of exactly this account and message, the provider's own
// SID is kept and the result is true. This is the only place that decides so.
// Otherwise the SID is derived from the account, the message, the index and the
// Store's secret: it is always the same, and nobody can guess it.
func (s *Store) Identify(account AccountSID, message MessageSID, index int, mediaURL string) (MediaSID, bool) {
	if of, sid, ok := providerMedia(account, mediaURL, s.Upstream); ok && of == message {
		return sid, true
	}
	mac := hmac.New(sha256.New, s.secret)
	fmt.Fprintf(mac, "%s|%s|%d", account, message, index)
	return MediaSID{"ME" + hex.EncodeToString(mac.Sum(nil))[:32]}, false
}

// isAccounts tells whether a MediaUrl is, as in [Store.Identify], the address of a
// medium of any message of exactly this account. A client that has authenticated
// itself as the account may read there whatever the account's credentials open, so
// they may be sent to a URL that such a client gave. A webhook's URLs may be anybody's.
func isAccounts(account AccountSID, mediaURL string, upstream *url.URL) bool {
	_, _, ok := providerMedia(account, mediaURL, upstream)
	return ok
}

// providerMedia matches mediaURL with the one path under which Twilio serves a
// medium (twilio_api_v2010.json, FetchMedia, without an extension). A query, a
// fragment, user information and any escape make it another address.
func providerMedia(account AccountSID, mediaURL string, upstream *url.URL) (MessageSID, MediaSID, bool) {
	u, err := url.Parse(mediaURL)
	if err != nil || upstream == nil || origin(u) != origin(upstream) {
		return MessageSID{}, MediaSID{}, false
	}
	messages := "/2010-04-01/Accounts/" + account.s + "/Messages/"
	first, second, _ := strings.Cut(strings.TrimPrefix(u.Path, messages), "/Media/")
	message, err1 := ParseMessageSID(first)
	media, err2 := ParseMediaSID(second)
	if err1 != nil || err2 != nil || mediaURL != u.Scheme+"://"+u.Host+messages+message.s+"/Media/"+media.s {
		return MessageSID{}, MediaSID{}, false
	}
	return message, media, true
}

// origin is the scheme, host and port of an http or https URL, comparable.
// Of any other URL it is one that no http or https URL has.
func origin(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	case u.Scheme == "http":
		port = "80"
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}

// HashNumber stands for a phone number where the number itself is not to be: the
// same number always has the same hash, however it is written, and without the
// Store's secret nobody can find it by trying all numbers.
func (s *Store) HashNumber(number string) string {
	mac := hmac.New(sha256.New, s.secret)
	fmt.Fprintf(mac, "number|%s", s.Region.Normal(number))
	return hex.EncodeToString(mac.Sum(nil))[:32]
}

// indexFolder is the prefix of all index entries of an account.
func indexFolder(account AccountSID) string { return indexRoot + account.s + "/" }

// The four indexes of an account: the prefixes of their entries.

func timeIndex(account AccountSID) string   { return indexFolder(account) + "time/" }
func failedIndex(account AccountSID) string { return indexFolder(account) + "failed/" }

func fromIndex(account AccountSID, hash string) string {
	return indexFolder(account) + "from/" + hash + "/"
}

func toIndex(account AccountSID, hash string) string {
	return indexFolder(account) + "to/" + hash + "/"
}

// fromHash and toHash are the hashes of a message's numbers.

func (s *Store) fromHash(m Message) string {
	if m.FromHash != "" {
		return m.FromHash
	}
	return s.HashNumber(m.From)
}

func (s *Store) toHash(m Message) string {
	if m.ToHash != "" {
		return m.ToHash
	}
	return s.HashNumber(m.To)
}

// Parties returns the hashes of a message's sender and recipient; see [Store.HashNumber].
func (s *Store) Parties(m Message) (from, to string) { return s.fromHash(m), s.toHash(m) }

// place is where a message stands in an index: after all newer ones, and among
// those of the same nanosecond by its SID.
type place struct {
	countdown int64 // see countdown
	message   MessageSID
}

// countdown is how many nanoseconds there are from t to the end of int64, in the
// year 2262. A time before 1970 or after that end counts as the nearest between.
func countdown(t time.Time) int64 {
	switch {
	case t.Before(time.Unix(0, 0)):
		return math.MaxInt64
	case t.After(time.Unix(0, math.MaxInt64)):
		return 0
	}
	return math.MaxInt64 - t.UnixNano()
}

// time is the reverse of countdown.
func (p place) time() time.Time { return time.Unix(0, math.MaxInt64-p.countdown).UTC() }

// moment is the part of an entry's key that says when: a folder for each day
// (UTC), because a page of a listing may cost what its folder holds, and the
// countdown. All are equally long.
func moment(countdown int64) string {
	const day = int64(24 * time.Hour)
	return fmt.Sprintf("%06d/%019d", math.MaxInt64/day-(math.MaxInt64-countdown)/day, countdown)
}

// entry is the end of an entry's key, below its index.
func (p place) entry() string { return moment(p.countdown) + "-" + p.message.s }

// parseEntry finds the place in the key of an entry. It is false for every other
// key.
func parseEntry(key string) (place, bool) {
	parts := strings.Split(key[strings.LastIndexByte(key, '/')+1:], "-")
	if !strings.HasPrefix(key, indexRoot) || len(parts) < 2 {
		return place{}, false
	}
	p, err := parsePosition(parts[0] + parts[1])
	return p, err == nil
}

// position is a place as others keep it: letters and digits alone, so that it can
// be part of a URL.
func (p place) position() string { return fmt.Sprintf("%019d%s", p.countdown, p.message) }

// parsePosition is the reverse of position.
func parsePosition(position string) (place, error) {
	digits := position[:min(19, len(position))]
	if strings.Trim(digits, "0123456789") != "" {
		return place{}, fmt.Errorf("%w %.60q", ErrPosition, position)
	}
	n, err1 := strconv.ParseInt(digits, 10, 64)
	message, err2 := ParseMessageSID(position[len(digits):])
	if err1 != nil || err2 != nil {
		return place{}, fmt.Errorf("%w %.60q", ErrPosition, position)
	}
	return place{n, message}, nil
}
