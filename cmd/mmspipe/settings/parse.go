package settings

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"mmspipe/cmd/mmspipe/service"
	"mmspipe/ingest/guard"
	"mmspipe/ingest/outbound/route"
	"mmspipe/resize"
	"mmspipe/store"
	"mmspipe/store/number"
	"mmspipe/store/rest"
)

// The least that is of use. Less is taken for a mistake, such as a unit that is missing.
const (
	minMedia     = 64 << 10 // a small photograph
	minCache     = 1 << 20
	minFitMemory = 64 << 20 // the photograph of a phone, twice
	minPixels    = 10_000   // 100 × 100
	minFeedAge   = time.Hour
	minRetention = 48 * time.Hour // twice the time for which media are tried by default
	maxWorkers   = 1000
)

// Parse returns what the settings mean, or one error that lists every mistake with
// the name of its setting. It reads the files that are named, and repeats no secret.
func (s Settings) Parse() (service.Config, Log, error) {
	var m mistakes
	s.readSecrets(&m)
	c := service.Config{
		Listen: s.Listen, AdminListen: s.AdminListen, Data: s.Data,
		NATS: service.NATS{URL: s.NatsURL, Creds: s.NatsCreds, Listen: s.NatsListen},
	}
	m.check("listen", checkAddress(s.Listen))
	m.check("admin-listen", checkAddress(s.AdminListen))
	if s.AdminHosts != "" {
		c.AdminHosts = parsed(&m, "admin-hosts", s.AdminHosts, parseNames)
	}
	if s.PublicURL != "" {
		c.PublicURL = parsed(&m, "public-url", s.PublicURL, parseOrigin)
	}
	c.Accounts = parsed(&m, "accounts", s.Accounts, parseAccounts)
	if len(c.Accounts) == 0 && !m.in("accounts") {
		m.check("accounts", errors.New("no account is set; give the account's SID and auth token as AC…:TOKEN"))
	}
	c.APIKeys = parsed(&m, "api-keys", s.APIKeys, rest.ParseAPIKeys)
	if s.Secret != "" && len(s.Secret) < 32 {
		m.check("secret", errors.New("it is shorter than 32 characters"))
	}
	c.Secret = []byte(s.Secret)
	c.MediaAuth = parsed(&m, "media-auth", s.MediaAuth, oneOf("public", "required"))
	s.parseMedia(&c, &m)
	s.parseForward(&c, &m)
	s.parseNATS(&c, &m)
	s.parseS3(&c, &m)
	s.parseRoles(&c, &m)

	c.Workers = parsed(&m, "workers", s.Workers, numberUpTo(maxWorkers))
	c.GiveUp = parsed(&m, "give-up", s.GiveUp, ParseDuration)
	c.FeedAge = parsed(&m, "feed-age", s.FeedAge, atLeast(minFeedAge, ParseDuration))
	if s.Retention != "" {
		c.Retention = parsed(&m, "retention", s.Retention, atLeast(minRetention, ParseDuration))
	}
	log := Log{
		Level:  parsed(&m, "log-level", s.LogLevel, parseLevel),
		Format: parsed(&m, "log-format", s.LogFormat, oneOf("auto", "console", "json")),
	}
	return c, log, errors.Join(m.errs...)
}

// parseMedia reads what is done with media.
func (s Settings) parseMedia(c *service.Config, m *mistakes) {
	c.Upstream = parsed(m, "upstream", s.Upstream, parseOrigin)
	c.Relay = parsed(m, "relay", s.Relay, parseBool)
	c.PassThrough = parsed(m, "pass-through", s.PassThrough, parseBool)
	c.DeleteUpstream = parsed(m, "delete-upstream", s.DeleteUpstream, parseBool)
	c.FetchAllow = parsed(m, "fetch-allow", s.FetchAllow, guard.Parse)
	c.MaxMedia = parsed(m, "max-media", s.MaxMedia, atLeast(minMedia, ParseBytes))
	if s.FetchCache != "0" {
		c.FetchCache = parsed(m, "fetch-cache", s.FetchCache, atLeast(minCache, ParseBytes))
	}
	c.FitMemory = parsed(m, "fit-memory", s.FitMemory, atLeast(minFitMemory, ParseBytes))
	if s.MaxPixels != "" {
		c.MaxPixels = parsed(m, "max-pixels", s.MaxPixels, atLeast(minPixels, numberUpTo(math.MaxInt32)))
	}
	c.Profile = parsed(m, "profile", s.Profile, resize.ProfileNamed)
	c.Region = parsed(m, "region", s.Region, number.ParseRegion)
	var rules []route.Rule
	if s.ProfileRules != "" {
		rules = parsed(m, "profile-rules", s.ProfileRules, readRules)
	}
	if m.in("profile", "region", "profile-rules") {
		return
	}
	c.Route = parsed(m, "profile-rules", s.ProfileRules, func(string) (route.Func, error) { return route.New(rules, c.Profile, c.Region) })
}

// parseForward reads where webhooks are posted on, which is one URL or one for each
// account. URLs may hold passwords and do not reach an error.
func (s Settings) parseForward(c *service.Config, m *mistakes) {
	c.ForwardReply = parsed(m, "forward-mode", s.ForwardMode, oneOf("queue", "reply")) == "reply"
	c.Forward = map[store.AccountSID]*url.URL{}
	if m.in("forward") {
		return
	}
	if s.Forward == "" {
		if c.ForwardReply {
			m.check("forward-mode", errors.New("it is reply, and --forward is not set: nobody can reply"))
		}
		return
	}
	if !strings.HasPrefix(s.Forward, "AC") {
		all, err := s.parseApplication(s.Forward, c.PublicURL)
		m.check("forward", err)
		for account := range c.Accounts {
			c.Forward[account] = all
		}
		return
	}
	for i, entry := range strings.Split(s.Forward, ",") {
		name, address, _ := strings.Cut(strings.TrimSpace(entry), "=")
		account, err := store.ParseAccountSID(name)
		if err != nil {
			m.check("forward", fmt.Errorf("entry %d: the text before the first equals sign is not an account SID", i+1))
			continue
		}
		if c.Accounts[account] == nil && !m.in("accounts") {
			m.check("forward", fmt.Errorf("entry %d: %s is not among the accounts", i+1, account))
		}
		if c.Forward[account] != nil {
			m.check("forward", fmt.Errorf("entry %d: %s is repeated", i+1, account))
		}
		if c.Forward[account], err = s.parseApplication(address, c.PublicURL); err != nil {
			m.check("forward", fmt.Errorf("entry %d, %s: %w", i+1, account, err))
		}
	}
}

// parseApplication reads a URL that webhooks are posted to. It may lead neither to the
// public origin, nil if that is not set, nor to the listener.
func (s Settings) parseApplication(address string, public *url.URL) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("it is not a URL such as https://app.example.com/sms")
	}
	if rest.LeadsTo(&url.URL{Host: s.Listen}, u) || public != nil && rest.LeadsTo(public, u) {
		return nil, errors.New("it leads to mmspipe itself")
	}
	return u, nil
}

// parseNATS reads what must be right together about NATS.
func (s Settings) parseNATS(c *service.Config, m *mistakes) {
	if s.NatsURL != "" {
		m.check("nats-url", checkServers(s.NatsURL))
	}
	if s.NatsListen != "" {
		m.check("nats-listen", checkLoopback(s.NatsListen))
		if s.NatsURL != "" {
			m.check("nats-listen", errors.New("it is for the embedded server, and --nats-url is set"))
		}
	}
	if s.NatsMonitor != "" {
		c.NATS.Monitor = parsed(m, "nats-monitor", s.NatsMonitor, parseOrigins)
	}
	if s.NatsCreds != "" {
		m.check("nats-creds", checkReadable(s.NatsCreds))
	}
	if s.NatsURL == "" && !m.in("nats-url") {
		m.idle("nats-creds", s.NatsCreds, "", "nats-url")
		m.idle("nats-monitor", s.NatsMonitor, "", "nats-url")
	}
	c.NATS.RequireDurable = parsed(m, "require-durable", s.RequireDurable, parseBool)
}

// parseS3 reads what must be right together about the object store.
func (s Settings) parseS3(c *service.Config, m *mistakes) {
	tls := parsed(m, "s3-tls", s.S3TLS, parseBool)
	if s.S3PublicEndpoint != "" {
		_, err := parseOrigin(s.S3PublicEndpoint)
		m.check("s3-public-endpoint", err)
	}
	if s.S3Endpoint == "" {
		m.idle("s3-bucket", s.S3Bucket, "mmspipe", "s3-endpoint")
		m.idle("s3-access-key", s.S3AccessKey, "", "s3-endpoint")
		m.idle("s3-secret-key", s.S3SecretKey, "", "s3-endpoint")
		m.idle("s3-region", s.S3Region, "", "s3-endpoint")
		m.idle("s3-tls", strconv.FormatBool(tls), "true", "s3-endpoint")
		m.idle("s3-public-endpoint", s.S3PublicEndpoint, "", "s3-endpoint")
		return
	}
	c.S3 = &store.MinIOOptions{
		Endpoint: s.S3Endpoint, Bucket: s.S3Bucket, AccessKey: s.S3AccessKey, SecretKey: s.S3SecretKey,
		Region: s.S3Region, TLS: tls, PublicEndpoint: s.S3PublicEndpoint,
	}
	if strings.Contains(s.S3Endpoint, "/") {
		m.check("s3-endpoint", fmt.Errorf("%q is not HOST:PORT; --s3-tls says whether it is https", s.S3Endpoint))
	}
	for _, need := range []struct{ flag, value string }{{"s3-bucket", s.S3Bucket}, {"s3-access-key", s.S3AccessKey}, {"s3-secret-key", s.S3SecretKey}} {
		if need.value == "" && !m.in(need.flag) {
			m.check(need.flag, errors.New("--s3-endpoint is set and this is not"))
		}
	}
}

// parseRoles reads the roles. Processes that share the work meet in NATS, in the
// bucket, and in what the secret derives.
func (s Settings) parseRoles(c *service.Config, m *mistakes) {
	for role := range strings.SplitSeq(s.Roles, ",") {
		switch strings.TrimSpace(role) {
		case "receiver":
			c.Roles.Receiver = true
		case "worker":
			c.Roles.Worker = true
		case "api":
			c.Roles.API = true
		default:
			m.check("roles", fmt.Errorf("%q is none of receiver, worker, api", role))
		}
	}
	if c.Roles.Receiver && c.Roles.Worker && c.Roles.API || m.in("roles") {
		return
	}
	for _, need := range []struct{ flag, value string }{
		{"nats-url", s.NatsURL}, {"s3-endpoint", s.S3Endpoint}, {"secret", s.Secret},
	} {
		if need.value == "" && !m.in(need.flag) {
			m.check(need.flag, fmt.Errorf("it must be set, because --roles is %q and the other roles run elsewhere", s.Roles))
		}
	}
}
