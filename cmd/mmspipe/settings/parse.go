package settings

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strconv"
	"strings"

	"mmspipe/cmd/mmspipe/service"
	"mmspipe/ingest/guard"
	"mmspipe/ingest/outbound"
	"mmspipe/resize"
	"mmspipe/store"
	"mmspipe/store/number"
	"mmspipe/store/rest"
)

// Parse returns what the settings mean, or one error that lists every mistake with
// the name of its setting. It reads the files that are named, and repeats no secret.
func (s Settings) Parse() (service.Config, Log, error) {
	c := service.Config{
		Listen: s.Listen, AdminListen: s.AdminListen, Data: s.Data,
		NATS: service.NATS{URL: s.NatsURL, Creds: s.NatsCreds, Listen: s.NatsListen},
	}
	var log Log
	var m mistakes
	m.check("listen", checkAddress(s.Listen))
	m.check("admin-listen", checkAddress(s.AdminListen))
	if s.PublicURL != "" {
		c.PublicURL = parsed(&m, "public-url", s.PublicURL, parseOrigin)
	}
	c.Accounts = parsed(&m, "accounts", s.Accounts, parseAccounts)
	if s.AccountsFile != "" {
		maps.Copy(c.Accounts, parsed(&m, "accounts-file", s.AccountsFile, readAccounts))
	}
	c.APIKeys = parsed(&m, "api-keys", s.APIKeys, rest.ParseAPIKeys)
	if s.Secret != "" && len(s.Secret) < 32 {
		m.check("secret", errors.New("it is shorter than 32 characters"))
	}
	c.Secret = []byte(s.Secret)
	c.MediaAuth = parsed(&m, "media-auth", s.MediaAuth, oneOf("public", "required"))

	c.Upstream = parsed(&m, "upstream", s.Upstream, parseOrigin)
	c.Relay = parsed(&m, "relay", s.Relay, strconv.ParseBool)
	c.DeleteUpstream = parsed(&m, "delete-upstream", s.DeleteUpstream, strconv.ParseBool)
	c.FetchAllow = parsed(&m, "fetch-allow", s.FetchAllow, guard.Parse)
	c.MaxMedia = parsed(&m, "max-media", s.MaxMedia, parseBytes)
	c.Profile = parsed(&m, "profile", s.Profile, resize.ProfileNamed)
	c.Region = parsed(&m, "region", s.Region, number.ParseRegion)
	var rules []outbound.Rule
	if s.ProfileRules != "" {
		rules = parsed(&m, "profile-rules", s.ProfileRules, readRules)
	}
	c.Route = parsed(&m, "profile-rules", s.ProfileRules, func(string) (outbound.Route, error) { return outbound.NewRoute(rules, c.Profile, c.Region) })
	if s.FetchCache != "0" {
		c.FetchCache = parsed(&m, "fetch-cache", s.FetchCache, parseBytes)
	}
	c.FitMemory = parsed(&m, "fit-memory", s.FitMemory, parseBytes)
	if s.MaxPixels != "" {
		c.MaxPixels = parsed(&m, "max-pixels", s.MaxPixels, parseCount)
	}

	c.Workers = parsed(&m, "workers", s.Workers, parseCount)
	c.GiveUp = parsed(&m, "give-up", s.GiveUp, parseDuration)
	c.FeedAge = parsed(&m, "feed-age", s.FeedAge, parseDuration)
	if s.Retention != "" {
		c.Retention = parsed(&m, "retention", s.Retention, parseDuration)
		if c.Retention > 0 && c.Retention < minRetention {
			m.check("retention", fmt.Errorf("%s is less than %v, in which jobs may still be under way", s.Retention, minRetention))
		}
	}
	log.Level = parsed(&m, "log-level", s.LogLevel, parseLevel)
	log.Format = parsed(&m, "log-format", s.LogFormat, oneOf("auto", "console", "json"))

	s.parseForward(&c, &m)
	s.parseBackends(&c, &m)
	s.parseRoles(&c, &m)
	if len(c.Accounts) == 0 && s.Accounts == "" && s.AccountsFile == "" {
		m.check("accounts", errors.New("no account is set; give the account's SID and auth token as AC…:TOKEN"))
	}
	return c, log, errors.Join(m...)
}

// parseForward reads where webhooks are posted on, which is one URL or one for each
// account. URLs may hold passwords and do not reach an error.
func (s Settings) parseForward(c *service.Config, m *mistakes) {
	mode := parsed(m, "forward-mode", s.ForwardMode, oneOf("queue", "reply"))
	c.ForwardReply = mode == "reply" && s.Forward != ""
	c.Forward = map[store.AccountSID]*url.URL{}
	if s.Forward == "" {
		return
	}
	if !strings.HasPrefix(s.Forward, "AC") {
		all, err := parseApplication(s.Forward)
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
		if c.Accounts[account] == nil {
			m.check("forward", fmt.Errorf("entry %d: %s is not among the accounts", i+1, account))
		}
		if c.Forward[account] != nil {
			m.check("forward", fmt.Errorf("entry %d: %s is repeated", i+1, account))
		}
		if c.Forward[account], err = parseApplication(address); err != nil {
			m.check("forward", fmt.Errorf("entry %d, %s: %w", i+1, account, err))
		}
	}
}

// parseApplication reads a URL that webhooks are posted to.
func parseApplication(s string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(s))
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("it is not a URL such as https://app.example.com/sms")
	}
	return u, nil
}

// parseBackends reads what must be right together about NATS and S3.
func (s Settings) parseBackends(c *service.Config, m *mistakes) {
	if s.NatsListen != "" {
		m.check("nats-listen", checkLoopback(s.NatsListen))
		if s.NatsURL != "" {
			m.check("nats-listen", errors.New("it is for the embedded server, and --nats-url is set"))
		}
	}
	if s.NatsMonitor != "" {
		c.NATS.Monitor = parsed(m, "nats-monitor", s.NatsMonitor, parseOrigins)
	}
	c.NATS.RequireDurable = parsed(m, "require-durable", s.RequireDurable, strconv.ParseBool)
	tls := parsed(m, "s3-tls", s.S3TLS, strconv.ParseBool)
	if s.S3Endpoint == "" {
		return
	}
	c.S3 = &store.MinIOOptions{
		Endpoint: s.S3Endpoint, Bucket: s.S3Bucket, AccessKey: s.S3AccessKey, SecretKey: s.S3SecretKey,
		Region: s.S3Region, TLS: tls, PublicEndpoint: s.S3PublicEndpoint,
	}
	if strings.Contains(s.S3Endpoint, "/") {
		m.check("s3-endpoint", fmt.Errorf("%q is not HOST:PORT; --s3-tls says whether it is https", s.S3Endpoint))
	}
	if s.S3AccessKey == "" {
		m.check("s3-access-key", errors.New("--s3-endpoint is set and this is not"))
	}
	if s.S3SecretKey == "" {
		m.check("s3-secret-key", errors.New("--s3-endpoint is set and this is not"))
	}
	if s.S3PublicEndpoint != "" {
		_, err := parseOrigin(s.S3PublicEndpoint)
		m.check("s3-public-endpoint", err)
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
	if c.Roles.Receiver && c.Roles.Worker && c.Roles.API {
		return
	}
	for _, need := range []struct{ flag, value string }{
		{"nats-url", s.NatsURL}, {"s3-endpoint", s.S3Endpoint}, {"secret", s.Secret},
	} {
		if need.value == "" {
			m.check(need.flag, fmt.Errorf("it must be set, because --roles is %q and the other roles run elsewhere", s.Roles))
		}
	}
}

// mistakes collects errors about settings.
type mistakes []error

// check adds err, if any, under the name of its setting.
func (m *mistakes) check(flag string, err error) {
	if err != nil {
		*m = append(*m, fmt.Errorf("--%s (%s): %w", flag, Variable(flag), err))
	}
}

// parsed returns what parse makes of a setting and adds the error, if any.
func parsed[T any](m *mistakes, flag, value string, parse func(string) (T, error)) T {
	v, err := parse(value)
	m.check(flag, err)
	return v
}
