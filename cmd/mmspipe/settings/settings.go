// Package settings turns what a person writes, as flags or environment variables,
// into the [service.Config] of a service. Each flag is also a variable: --public-url
// is MMSPIPE_PUBLIC_URL. All mistakes are reported at once.
package settings

import (
	"strings"

	"github.com/alecthomas/kong"
	"github.com/rs/zerolog"
)

// Settings are the flags of the service as they are written. All are strings here, so
// that [Settings.Parse] finds every mistake in them, together.
type Settings struct {
	Listen      string `setting:"" group:"Listeners" default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Public listener: webhooks, media, feed, /healthz, /readyz."`
	AdminListen string `setting:"" group:"Listeners" default:"127.0.0.1:8081" placeholder:"HOST:PORT" help:"Listener for operators: the API behind the commands for people on call, and /readyz in detail."`
	AdminHosts  string `setting:"" group:"Listeners" placeholder:"NAME,…" help:"Names that people call the admin listener by. IP addresses and localhost always work. Any other name is refused, so that no web page reaches it under a name of its own."`
	PublicURL   string `setting:"" group:"Listeners" name:"public-url" placeholder:"ORIGIN" help:"Origin that the outside sees. Signatures are checked against it, and links begin with it. http:// and the public listener unless set."`
	Roles       string `setting:"" group:"Listeners" default:"receiver,worker,api" placeholder:"ROLE,…" help:"What this process does: any of receiver, worker, api. Fewer than all need an external NATS, an S3 endpoint and a secret."`

	Accounts     string `setting:"" group:"Accounts" placeholder:"AC…:TOKEN[:TOKEN],…" help:"Accounts and their auth tokens. Give two tokens while you change one."`
	AccountsFile string `setting:"" group:"Accounts" type:"path" placeholder:"FILE" help:"The same from a file, with an account on each line."`
	APIKeys      string `setting:"" group:"Accounts" name:"api-keys" placeholder:"SK…:SECRET:AC…|*:read|write,…" help:"Keys that work wherever an account's token does. A key for * is an operator's. Unless set, one operator's key is generated into the data directory."`
	APIKeysFile  string `setting:"" group:"Accounts" name:"api-keys-file" type:"path" placeholder:"FILE" help:"The same from a file, with a key on each line."`
	Secret       string `setting:"" group:"Accounts" placeholder:"SECRET" help:"Signs links, derives SIDs and hashes numbers. It has at least 32 characters. Keep it. Unless set, one is generated into the data directory."`
	SecretFile   string `setting:"" group:"Accounts" type:"path" placeholder:"FILE" help:"The same from a file."`
	Region       string `setting:"" group:"Accounts" default:"US" placeholder:"XX" help:"Country of phone numbers that have no country code: those that you erase or filter lists by, and those that profile rules look at."`
	MediaAuth    string `setting:"" group:"Accounts" default:"public" placeholder:"public|required" help:"Who can read the content of media. public: whoever knows the URL, as in Twilio's API. required: only with credentials or a signed link."`

	Data             string `setting:"" group:"Backends" default:"./mmspipe-data" placeholder:"DIR" help:"Data directory. One process uses it at a time."`
	NatsURL          string `setting:"" group:"Backends" placeholder:"URL,…" help:"NATS servers with JetStream. Unless set, a server runs inside."`
	NatsURLFile      string `setting:"" group:"Backends" name:"nats-url-file" type:"path" placeholder:"FILE" help:"The same from a file, for URLs with a password."`
	NatsCreds        string `setting:"" group:"Backends" type:"path" placeholder:"FILE" help:"Credentials file for NATS."`
	NatsMonitor      string `setting:"" group:"Backends" placeholder:"URL,…" help:"Monitoring ports of all NATS servers, such as http://nats-1:8222. Only they tell whether a server syncs before it acknowledges."`
	RequireDurable   string `setting:"" group:"Backends" default:"no" placeholder:"yes|no" help:"Refuse to start if the queue may lose what it acknowledged when the power fails."`
	NatsListen       string `setting:"" group:"Backends" placeholder:"HOST:PORT" help:"Loopback address where the NATS server inside answers the nats command. The credentials are in the data directory. Off unless set."`
	S3Endpoint       string `setting:"" group:"Backends" name:"s3-endpoint" placeholder:"HOST:PORT" help:"MinIO or another S3 service. Unless set, objects are kept in the data directory."`
	S3Bucket         string `setting:"" group:"Backends" name:"s3-bucket" default:"mmspipe" placeholder:"NAME" help:"Its bucket. It is made if it is not there."`
	S3AccessKey      string `setting:"" group:"Backends" name:"s3-access-key" placeholder:"KEY" help:"Its access key."`
	S3AccessKeyFile  string `setting:"" group:"Backends" name:"s3-access-key-file" type:"path" placeholder:"FILE" help:"The same from a file."`
	S3SecretKey      string `setting:"" group:"Backends" name:"s3-secret-key" placeholder:"SECRET" help:"Its secret key."`
	S3SecretKeyFile  string `setting:"" group:"Backends" name:"s3-secret-key-file" type:"path" placeholder:"FILE" help:"The same from a file."`
	S3Region         string `setting:"" group:"Backends" name:"s3-region" placeholder:"REGION" help:"Its region, if it has one."`
	S3TLS            string `setting:"" group:"Backends" name:"s3-tls" default:"yes" placeholder:"yes|no" help:"Whether to call it by https."`
	S3PublicEndpoint string `setting:"" group:"Backends" name:"s3-public-endpoint" placeholder:"ORIGIN" help:"Where browsers reach it, such as https://s3.example.com. If set, links to media lead there."`

	Upstream       string `setting:"" group:"Media" default:"https://api.twilio.com" placeholder:"ORIGIN" help:"The provider's API."`
	Relay          string `setting:"" group:"Media" default:"no" placeholder:"yes|no" help:"Send outgoing messages through the provider when they are ready. The provider reads their media here, under --public-url. Without it they stay queued, and mms.ready says what another sender needs."`
	PassThrough    string `setting:"" group:"Media" default:"no" placeholder:"yes|no" help:"Pass requests for all other resources of an account, such as its numbers and calls, on to the provider's API, with the account's token."`
	DeleteUpstream string `setting:"" group:"Media" default:"no" placeholder:"yes|no" help:"Delete the provider's copy of a medium a day after it came. What is stored here is read again before, and must be good."`
	FetchAllow     string `setting:"" group:"Media" placeholder:"CIDR:PORT,…" help:"Addresses to download from although they are private, or on another port than 80 and 443."`
	MaxMedia       string `setting:"" group:"Media" default:"32MiB" placeholder:"BYTES" help:"The largest medium that is downloaded."`
	Profile        string `setting:"" group:"Media" default:"us" placeholder:"NAME" help:"Carrier profile that pictures are fitted to."`
	ProfileRules   string `setting:"" group:"Media" type:"path" placeholder:"FILE" help:"File that chooses other profiles for outgoing messages. Each line has three words: how To begins; how From begins, or toll-free, short-code or long-code; and a profile. If no line matches, messages to +1 from toll-free numbers and short codes have profiles of their own."`
	FetchCache     string `setting:"" group:"Media" default:"1GiB" placeholder:"BYTES" help:"Disk space for a cache: media of outgoing messages, by HTTP's rules, and the pictures made of them. It takes at most a tenth of the disk. 0 turns it off."`
	FitMemory      string `setting:"" group:"Media" default:"512MiB" placeholder:"BYTES" help:"Memory that all pictures may take together while they are decoded."`
	MaxPixels      string `setting:"" group:"Media" placeholder:"N" help:"The most pixels of a picture that is fitted. Larger ones are kept as they came. Unless set: 100,000,000 for JPEG and 40,000,000 for other formats."`

	Forward     string `setting:"" group:"Forwarding" placeholder:"URL|AC…=URL,…" help:"Your application. Every webhook is forwarded to it, signed as Twilio signs. Give one URL for all accounts, or one for each."`
	ForwardFile string `setting:"" group:"Forwarding" type:"path" placeholder:"FILE" help:"The same from a file, for URLs with a password."`
	ForwardMode string `setting:"" group:"Forwarding" default:"queue" placeholder:"queue|reply" help:"queue: webhooks are forwarded when their media are stored. reply: they are forwarded at once, and your application's TwiML answers Twilio."`

	Workers   string `setting:"" group:"Running" default:"16" placeholder:"N" help:"How many messages are worked on at once."`
	GiveUp    string `setting:"" group:"Running" default:"24h" placeholder:"DURATION" help:"How long to try a medium that could not be downloaded, or an application that does not take webhooks."`
	FeedAge   string `setting:"" group:"Running" default:"30d" placeholder:"DURATION" help:"How long events are kept."`
	Retention string `setting:"" group:"Running" placeholder:"DURATION" help:"Remove messages with their media and events when they are older than this, such as 90d; at least 48h. Nothing is removed unless set."`
	LogLevel  string `setting:"" group:"Running" default:"info" placeholder:"LEVEL" help:"debug, info, warn or error."`
	LogFormat string `setting:"" group:"Running" default:"auto" placeholder:"FORMAT" help:"console, json, or auto: console in a terminal."`
}

// Log says what is logged, and how.
type Log struct {
	Level  zerolog.Level
	Format string // auto, console or json
}

// From returns the settings that these flags give, the others at their
// defaults.
func From(flags ...string) (Settings, error) {
	var s Settings
	parser, err := kong.New(&s)
	if err != nil {
		return s, err
	}
	_, err = parser.Parse(flags)
	return s, err
}

// Variable is the environment variable of a flag.
func Variable(flag string) string {
	return "MMSPIPE_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}
