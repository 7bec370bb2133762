package main

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"mmspipe/ingest"
	"mmspipe/ingest/fetch"
	"mmspipe/resize"
	"mmspipe/store"
	"mmspipe/store/rest"

	"github.com/alecthomas/kong"
	"github.com/dustin/go-humanize"
	"github.com/rs/zerolog"
)

// settings are the flags of the service as they are written. Each one is also an
// environment variable: --public-url is MMSPIPE_PUBLIC_URL. All are strings
// here, so that every mistake in them is found by [settings.parse], together.
type settings struct {
	Listen      string `setting:"" group:"Listeners" default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Public listener: webhooks, media, feed, /healthz, /readyz."`
	AdminListen string `setting:"" group:"Listeners" default:"127.0.0.1:8081" placeholder:"HOST:PORT" help:"Listener for people and machines of the house: /readyz in detail, what the commands for people on call ask."`
	PublicURL   string `setting:"" group:"Listeners" name:"public-url" placeholder:"ORIGIN" help:"Origin that the outside sees: what signatures are checked against and what links begin with. http:// and the public listener unless set."`
	Roles       string `setting:"" group:"Listeners" default:"receiver,worker,api" placeholder:"ROLE,…" help:"What this process does: any of receiver, worker, api. Fewer than all need an external NATS, an S3 endpoint and a secret."`

	Accounts     string `setting:"" group:"Accounts" placeholder:"AC…:TOKEN[:TOKEN],…" help:"Accounts and their auth tokens, a second token during a rotation."`
	AccountsFile string `setting:"" group:"Accounts" type:"path" placeholder:"FILE" help:"The same from a file, one account a line."`
	APIKeys      string `setting:"" group:"Accounts" name:"api-keys" placeholder:"SK…:SECRET:AC…|*:read|write,…" help:"Keys that are accepted wherever an account's token is; * is the operator. One operator key is generated into the data directory unless set."`
	Secret       string `setting:"" group:"Accounts" placeholder:"SECRET" help:"Signs links, derives SIDs, hashes numbers. Generated into the data directory unless set. At least 32 characters; keep it."`
	MediaAuth    string `setting:"" group:"Accounts" default:"public" placeholder:"public|required" help:"Whether the content of media can be read without credentials by whoever knows its URL, as in Twilio's API."`

	Data             string `setting:"" group:"Backends" default:"./mmspipe-data" placeholder:"DIR" help:"Data directory, used by one process at a time."`
	NatsURL          string `setting:"" group:"Backends" placeholder:"URL,…" help:"NATS servers with JetStream. A server is embedded unless set."`
	NatsCreds        string `setting:"" group:"Backends" type:"path" placeholder:"FILE" help:"Credentials file for NATS."`
	NatsMonitor      string `setting:"" group:"Backends" placeholder:"URL,…" help:"Monitoring ports of all NATS servers, such as http://nats-1:8222: whether a server syncs before it acknowledges is seen only there."`
	RequireDurable   string `setting:"" group:"Backends" default:"false" placeholder:"true|false" help:"Refuse to start where what is acknowledged may not survive power loss."`
	NatsListen       string `setting:"" group:"Backends" placeholder:"HOST:PORT" help:"Loopback address at which the embedded server answers the nats command, with the credentials in the data directory. Off unless set."`
	S3Endpoint       string `setting:"" group:"Backends" name:"s3-endpoint" placeholder:"HOST:PORT" help:"MinIO or another S3 service. Objects are kept in the data directory unless set."`
	S3Bucket         string `setting:"" group:"Backends" name:"s3-bucket" default:"mmspipe" placeholder:"NAME" help:"Its bucket, made if absent."`
	S3AccessKey      string `setting:"" group:"Backends" name:"s3-access-key" placeholder:"KEY" help:"Its access key."`
	S3SecretKey      string `setting:"" group:"Backends" name:"s3-secret-key" placeholder:"SECRET" help:"Its secret key."`
	S3Region         string `setting:"" group:"Backends" name:"s3-region" placeholder:"REGION" help:"Its region, where it has one."`
	S3TLS            string `setting:"" group:"Backends" name:"s3-tls" default:"true" placeholder:"true|false" help:"Whether it is reached by https."`
	S3PublicEndpoint string `setting:"" group:"Backends" name:"s3-public-endpoint" placeholder:"ORIGIN" help:"Where browsers reach it, such as https://s3.example.com. Links to media lead there if set."`

	Upstream       string `setting:"" group:"Media" default:"https://api.twilio.com" placeholder:"ORIGIN" help:"The provider's API."`
	Relay          string `setting:"" group:"Media" default:"false" placeholder:"true|false" help:"Send outgoing messages through the provider when they are ready, with links to their media under --public-url. Without it they stay queued, and mms.ready says what another sender needs."`
	DeleteUpstream string `setting:"" group:"Media" default:"false" placeholder:"true|false" help:"Delete the provider's copies of media a day after they came, once what is stored has been read again and found good."`
	FetchAllow     string `setting:"" group:"Media" placeholder:"CIDR:PORT,…" help:"Addresses that may be fetched from although they are private or on another port than 80 and 443."`
	MaxMedia       string `setting:"" group:"Media" default:"32MiB" placeholder:"BYTES" help:"Size of a medium at most."`
	Profile        string `setting:"" group:"Media" default:"us" placeholder:"NAME" help:"Carrier profile that pictures are fitted to."`
	ProfileRules   string `setting:"" group:"Media" type:"path" placeholder:"FILE" help:"Which outgoing messages are fitted to other profiles: lines of what To begins with, what From begins with or toll-free, short-code, long-code, and a profile. Unless a line matches, toll-free numbers and short codes have profiles of their own to +1."`
	FetchCache     string `setting:"" group:"Media" default:"1GiB" placeholder:"BYTES" help:"Disk space for what is kept of the media of outgoing messages, by HTTP's rules, and of what was made of them; a tenth of the disk at most. 0 keeps nothing."`
	FitMemory      string `setting:"" group:"Media" default:"512MiB" placeholder:"BYTES" help:"Memory that all pictures being decoded may take together."`
	MaxPixels      string `setting:"" group:"Media" placeholder:"N" help:"Pixels of a picture at most; larger ones are kept as they came. 100,000,000 of JPEG and 40,000,000 of other formats unless set."`

	Forward     string `setting:"" group:"Forwarding" placeholder:"URL|AC…=URL,…" help:"Your application, to which every webhook is posted on, signed as Twilio signs: one URL for all accounts, or one for each."`
	ForwardMode string `setting:"" group:"Forwarding" default:"queue" placeholder:"queue|reply" help:"queue: webhooks are posted once their media are stored. reply: they are posted at once, and your application's TwiML answers Twilio."`

	Workers   string `setting:"" group:"Running" default:"16" placeholder:"N" help:"Messages worked on at once."`
	GiveUp    string `setting:"" group:"Running" default:"24h" placeholder:"DURATION" help:"How long a medium that can not be had, or an application that takes no webhooks, is tried for."`
	FeedAge   string `setting:"" group:"Running" default:"720h" placeholder:"DURATION" help:"How long events are kept."`
	Retention string `setting:"" group:"Running" placeholder:"DURATION" help:"Remove messages with their media and events when they are older, such as 2160h; at least 48h. Nothing is removed unless set."`
	LogLevel  string `setting:"" group:"Running" default:"info" placeholder:"LEVEL" help:"debug, info, warn or error."`
	LogFormat string `setting:"" group:"Running" default:"auto" placeholder:"FORMAT" help:"console, json, or auto: console in a terminal."`
}

// config is what settings mean.
type config struct {
	listen, adminListen string
	publicURL           *url.URL // nil: http:// and the listener's address
	roles               struct{ receiver, worker, api bool }
	accounts            ingest.Accounts
	apiKeys             []rest.APIKey
	secret              []byte // nil: generated
	mediaAuth           string

	data                           string
	natsURL, natsCreds, natsListen string
	natsMonitor                    []*url.URL
	requireDurable                 bool
	s3                             *store.MinIOOptions // nil: a directory

	upstream       *url.URL
	relay          bool
	deleteUpstream bool
	fetchAllow     []fetch.Allow
	maxMedia       int64
	profile        resize.Profile
	route          ingest.Route
	fetchCache     int64 // 0: nothing is kept
	fitMemory      int64
	maxPixels      int // 0: the defaults of package resize

	forward      map[store.AccountSID]*url.URL // nowhere if absent
	forwardReply bool

	workers         int
	giveUp, feedAge time.Duration
	retention       time.Duration // 0: everything is kept
	logLevel        zerolog.Level
	logFormat       string
}

// parse returns what the settings mean, or one error that lists every mistake
// with the name of its setting.
func (s settings) parse() (config, error) {
	c := config{
		listen: s.Listen, adminListen: s.AdminListen, data: s.Data,
		natsURL: s.NatsURL, natsCreds: s.NatsCreds, natsListen: s.NatsListen,
	}
	var m mistakes
	m.check("listen", checkAddress(s.Listen))
	m.check("admin-listen", checkAddress(s.AdminListen))
	if s.PublicURL != "" {
		c.publicURL = parsed(&m, "public-url", s.PublicURL, parseOrigin)
	}
	c.accounts = parsed(&m, "accounts", s.Accounts, parseAccounts)
	if s.AccountsFile != "" {
		maps.Copy(c.accounts, parsed(&m, "accounts-file", s.AccountsFile, readAccounts))
	}
	c.apiKeys = parsed(&m, "api-keys", s.APIKeys, rest.ParseAPIKeys)
	if s.Secret != "" && len(s.Secret) < 32 {
		m.check("secret", errors.New("it is shorter than 32 characters"))
	}
	c.secret = []byte(s.Secret)
	c.mediaAuth = parsed(&m, "media-auth", s.MediaAuth, oneOf("public", "required"))

	c.upstream = parsed(&m, "upstream", s.Upstream, parseOrigin)
	c.relay = parsed(&m, "relay", s.Relay, strconv.ParseBool)
	c.deleteUpstream = parsed(&m, "delete-upstream", s.DeleteUpstream, strconv.ParseBool)
	c.fetchAllow = parsed(&m, "fetch-allow", s.FetchAllow, fetch.ParseAllow)
	c.maxMedia = parsed(&m, "max-media", s.MaxMedia, parseBytes)
	c.profile = parsed(&m, "profile", s.Profile, resize.ProfileNamed)
	var rules []ingest.Rule
	if s.ProfileRules != "" {
		rules = parsed(&m, "profile-rules", s.ProfileRules, readRules)
	}
	c.route = parsed(&m, "profile-rules", s.ProfileRules, func(string) (ingest.Route, error) { return ingest.NewRoute(rules, c.profile) })
	if s.FetchCache != "0" {
		c.fetchCache = parsed(&m, "fetch-cache", s.FetchCache, parseBytes)
	}
	c.fitMemory = parsed(&m, "fit-memory", s.FitMemory, parseBytes)
	if s.MaxPixels != "" {
		c.maxPixels = parsed(&m, "max-pixels", s.MaxPixels, parseCount)
	}

	c.workers = parsed(&m, "workers", s.Workers, parseCount)
	c.giveUp = parsed(&m, "give-up", s.GiveUp, parseDuration)
	c.feedAge = parsed(&m, "feed-age", s.FeedAge, parseDuration)
	if s.Retention != "" {
		c.retention = parsed(&m, "retention", s.Retention, parseDuration)
		if c.retention > 0 && c.retention < minRetention {
			m.check("retention", fmt.Errorf("%s is less than %v, in which jobs may still be under way", s.Retention, minRetention))
		}
	}
	c.logLevel = parsed(&m, "log-level", s.LogLevel, parseLevel)
	c.logFormat = parsed(&m, "log-format", s.LogFormat, oneOf("auto", "console", "json"))

	s.parseForward(&c, &m)
	s.parseBackends(&c, &m)
	s.parseRoles(&c, &m)
	if len(c.accounts) == 0 && s.Accounts == "" && s.AccountsFile == "" {
		m.check("accounts", errors.New("no account is set; give the account's SID and auth token as AC…:TOKEN"))
	}
	return c, errors.Join(m...)
}

// parseForward reads where webhooks are posted on, which is one URL or one for each
// account. URLs may hold passwords and do not reach an error.
func (s settings) parseForward(c *config, m *mistakes) {
	mode := parsed(m, "forward-mode", s.ForwardMode, oneOf("queue", "reply"))
	c.forwardReply = mode == "reply" && s.Forward != ""
	c.forward = map[store.AccountSID]*url.URL{}
	if s.Forward == "" {
		return
	}
	if !strings.HasPrefix(s.Forward, "AC") {
		all, err := parseApplication(s.Forward)
		m.check("forward", err)
		for account := range c.accounts {
			c.forward[account] = all
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
		if c.accounts[account] == nil {
			m.check("forward", fmt.Errorf("entry %d: %s is not among the accounts", i+1, account))
		}
		if c.forward[account] != nil {
			m.check("forward", fmt.Errorf("entry %d: %s is repeated", i+1, account))
		}
		if c.forward[account], err = parseApplication(address); err != nil {
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
func (s settings) parseBackends(c *config, m *mistakes) {
	if s.NatsListen != "" {
		m.check("nats-listen", checkLoopback(s.NatsListen))
		if s.NatsURL != "" {
			m.check("nats-listen", errors.New("it is for the embedded server, and --nats-url is set"))
		}
	}
	if s.NatsMonitor != "" {
		c.natsMonitor = parsed(m, "nats-monitor", s.NatsMonitor, parseOrigins)
	}
	c.requireDurable = parsed(m, "require-durable", s.RequireDurable, strconv.ParseBool)
	tls := parsed(m, "s3-tls", s.S3TLS, strconv.ParseBool)
	if s.S3Endpoint == "" {
		return
	}
	c.s3 = &store.MinIOOptions{
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
func (s settings) parseRoles(c *config, m *mistakes) {
	for role := range strings.SplitSeq(s.Roles, ",") {
		switch strings.TrimSpace(role) {
		case "receiver":
			c.roles.receiver = true
		case "worker":
			c.roles.worker = true
		case "api":
			c.roles.api = true
		default:
			m.check("roles", fmt.Errorf("%q is none of receiver, worker, api", role))
		}
	}
	if c.roles.receiver && c.roles.worker && c.roles.api {
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

// settingsFrom returns the settings that these flags give, the others at their
// defaults.
func settingsFrom(flags ...string) (settings, error) {
	var s settings
	parser, err := kong.New(&s)
	if err != nil {
		return s, err
	}
	_, err = parser.Parse(flags)
	return s, err
}

// mistakes collects errors about settings.
type mistakes []error

// check adds err, if any, under the name of its setting.
func (m *mistakes) check(flag string, err error) {
	if err != nil {
		*m = append(*m, fmt.Errorf("--%s (%s): %w", flag, variable(flag), err))
	}
}

// parsed returns what parse makes of a setting and adds the error, if any.
func parsed[T any](m *mistakes, flag, value string, parse func(string) (T, error)) T {
	v, err := parse(value)
	m.check(flag, err)
	return v
}

// variable is the environment variable of a flag.
func variable(flag string) string {
	return "MMSPIPE_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

func checkAddress(s string) error {
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return fmt.Errorf("%q is not HOST:PORT", s)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q: the port is not a number up to 65535", s)
	}
	return nil
}

func parseOrigin(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is not an origin such as https://mms.example.com", s)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return nil, errors.New("an origin is a scheme, a host and perhaps a port, and nothing else")
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

// minRetention is twice the time for which media are tried by default.
const minRetention = 48 * time.Hour

// parseOrigins reads a list of origins.
func parseOrigins(s string) ([]*url.URL, error) {
	var origins []*url.URL
	var m []error
	for entry := range strings.SplitSeq(s, ",") {
		origin, err := parseOrigin(strings.TrimSpace(entry))
		origins, m = append(origins, origin), append(m, err)
	}
	return origins, errors.Join(m...)
}

// parseAccounts reads "AC…:token[:token2],…". Tokens do not reach an error.
func parseAccounts(s string) (ingest.Accounts, error) {
	accounts := ingest.Accounts{}
	var m []error
	for i, entry := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == '\n' || r == '\r' }) {
		name, tokens, _ := strings.Cut(strings.TrimSpace(entry), ":")
		sid, err := store.ParseAccountSID(name)
		if err != nil {
			m = append(m, fmt.Errorf("entry %d: the text before the first colon is not an account SID", i+1))
			continue
		}
		accounts[sid] = strings.Split(tokens, ":")
		if len(accounts[sid]) > 2 || slices.Contains(accounts[sid], "") {
			m = append(m, fmt.Errorf("entry %d, %s: want one token or two, with colons between", i+1, sid))
		}
	}
	return accounts, errors.Join(m...)
}

func readAccounts(path string) (ingest.Accounts, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseAccounts(string(text))
}

func readRules(path string) ([]ingest.Rule, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return ingest.ParseRules(file)
}

func parseBytes(s string) (int64, error) {
	n, err := humanize.ParseBytes(s)
	if err != nil || n == 0 || n > 1<<40 {
		return 0, fmt.Errorf("%q is not a size such as 32MiB", s)
	}
	return int64(n), nil
}

func parseCount(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q is not a number above 0", s)
	}
	return n, nil
}

func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is not a duration such as 90m or 24h", s)
	}
	return d, nil
}

func parseLevel(s string) (zerolog.Level, error) {
	level, err := zerolog.ParseLevel(s)
	if err != nil || s == "" {
		return level, fmt.Errorf("%q is none of debug, info, warn, error", s)
	}
	return level, nil
}

func oneOf(words ...string) func(string) (string, error) {
	return func(s string) (string, error) {
		if !slices.Contains(words, s) {
			return "", fmt.Errorf("%q is none of %s", s, strings.Join(words, ", "))
		}
		return s, nil
	}
}
