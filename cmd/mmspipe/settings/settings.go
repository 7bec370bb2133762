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
	AdminListen string `setting:"" group:"Listeners" default:"127.0.0.1:8081" placeholder:"HOST:PORT" help:"Listener for operators: /readyz in detail, and the API that the commands for people on call use."`
	PublicURL   string `setting:"" group:"Listeners" name:"public-url" placeholder:"ORIGIN" help:"Origin that the outside sees: what signatures are checked against and what links begin with. http:// and the public listener unless set."`
	Roles       string `setting:"" group:"Listeners" default:"receiver,worker,api" placeholder:"ROLE,…" help:"What this process does: any of receiver, worker, api. Fewer than all need an external NATS, an S3 endpoint and a secret."`

	Accounts     string `setting:"" group:"Accounts" placeholder:"AC…:TOKEN[:TOKEN],…" help:"Accounts and their auth tokens, a second token during a rotation."`
	AccountsFile string `setting:"" group:"Accounts" type:"path" placeholder:"FILE" help:"The same from a file, one account a line."`
	APIKeys      string `setting:"" group:"Accounts" name:"api-keys" placeholder:"SK…:SECRET:AC…|*:read|write,…" help:"Keys that are accepted wherever an account's token is; * is the operator. One operator key is generated into the data directory unless set."`
	Secret       string `setting:"" group:"Accounts" placeholder:"SECRET" help:"Signs links, derives SIDs, hashes numbers. Generated into the data directory unless set. At least 32 characters; keep it."`
	Region       string `setting:"" group:"Accounts" default:"US" placeholder:"XX" help:"Country of numbers that are written without a country code: when one is erased, in filters of lists, and for profile rules."`
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
	Relay          string `setting:"" group:"Media" default:"false" placeholder:"true|false" help:"Send outgoing messages through the provider when they are ready, with links to their media under --public-url. Otherwise they stay queued, and mms.ready says what another sender needs."`
	DeleteUpstream string `setting:"" group:"Media" default:"false" placeholder:"true|false" help:"Delete the provider's copies of media a day after they came, once what is stored has been read again and found good."`
	FetchAllow     string `setting:"" group:"Media" placeholder:"CIDR:PORT,…" help:"Addresses that may be fetched from although they are private or on another port than 80 and 443."`
	MaxMedia       string `setting:"" group:"Media" default:"32MiB" placeholder:"BYTES" help:"Size of a medium at most."`
	Profile        string `setting:"" group:"Media" default:"us" placeholder:"NAME" help:"Carrier profile that pictures are fitted to."`
	ProfileRules   string `setting:"" group:"Media" type:"path" placeholder:"FILE" help:"File that chooses other profiles for outgoing messages. Each line has three words: how To begins; how From begins, or toll-free, short-code or long-code; and a profile. Where no line matches, messages to +1 from toll-free numbers and short codes have profiles of their own."`
	FetchCache     string `setting:"" group:"Media" default:"1GiB" placeholder:"BYTES" help:"Disk space for a cache of the media of outgoing messages, by HTTP's rules, and of what was made of them; a tenth of the disk at most. 0 keeps nothing."`
	FitMemory      string `setting:"" group:"Media" default:"512MiB" placeholder:"BYTES" help:"Memory that all pictures being decoded may take together."`
	MaxPixels      string `setting:"" group:"Media" placeholder:"N" help:"Pixels of a picture at most; larger ones are kept as they came. 100,000,000 of JPEG and 40,000,000 of other formats unless set."`

	Forward     string `setting:"" group:"Forwarding" placeholder:"URL|AC…=URL,…" help:"Your application, to which every webhook is forwarded, signed as Twilio signs: one URL for all accounts, or one for each."`
	ForwardMode string `setting:"" group:"Forwarding" default:"queue" placeholder:"queue|reply" help:"queue: webhooks are forwarded when their media are stored. reply: they are forwarded at once, and your application's TwiML answers Twilio."`

	Workers   string `setting:"" group:"Running" default:"16" placeholder:"N" help:"Messages worked on at once."`
	GiveUp    string `setting:"" group:"Running" default:"24h" placeholder:"DURATION" help:"How long to try a medium that could not be downloaded, or an application that does not take webhooks."`
	FeedAge   string `setting:"" group:"Running" default:"720h" placeholder:"DURATION" help:"How long events are kept."`
	Retention string `setting:"" group:"Running" placeholder:"DURATION" help:"Remove messages with their media and events when they are older, such as 2160h; at least 48h. Nothing is removed unless set."`
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
