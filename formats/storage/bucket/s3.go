package bucket

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	gcaws "gocloud.dev/aws"
	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"

	ours "github.com/griffin-ckpt/griffin/formats/storage"
	"github.com/griffin-ckpt/griffin/formats/storage/remote"
)

// openS3 opens a bucket of S3 with the parameters that s3blob.URLOpener takes. In contrast to it, it keeps as many connections as
// a pool has requests on their way, and the libraries print nothing. name is the bucket's address, for errors.
func openS3(ctx context.Context, u *url.URL, name string) (*blob.Bucket, error) {
	q := u.Query()
	take := func(param string) string {
		defer q.Del(param)
		return q.Get(param)
	}
	o := s3blob.Options{KMSEncryptionID: take("kmskeyid")}
	if kind := take("ssetype"); kind != "" {
		kinds := types.ServerSideEncryptionAes256.Values()
		i := slices.IndexFunc(kinds, func(k types.ServerSideEncryption) bool { return strings.EqualFold(string(k), kind) })
		if i < 0 {
			return nil, badSetting(name, "ssetype")
		}
		o.EncryptionType = kinds[i]
	}
	var client s3.Options
	for param, to := range map[string]*bool{"accelerate": &client.UseAccelerate, "disable_https": &client.EndpointOptions.DisableHTTPS,
		"s3ForcePathStyle": &client.UsePathStyle, "use_path_style": &client.UsePathStyle} {
		if value := take(param); value != "" {
			var err error
			if *to, err = strconv.ParseBool(value); err != nil {
				return nil, badSetting(name, param)
			}
		}
	}
	if !q.Has("response_checksum_validation") {
		q.Set("response_checksum_validation", "when_required") // ranges have no checksum
	}
	quiet, err := config.LoadDefaultConfig(ctx, config.WithLogger(logging.Nop{}), config.WithRegion(q.Get("region")), config.WithSharedConfigProfile(q.Get("profile")))
	if err != nil {
		return nil, remote.Errorf(name, remote.Invalid, "the settings and the profile of AWS cannot be used")
	}
	cfg, err := gcaws.V2ConfigFromURLParams(ctx, q)
	if err != nil {
		return nil, ours.MalformedAddress(name, "there is a parameter that s3:// addresses do not take")
	}
	if cfg.Region == "" {
		return nil, remote.Errorf(name, remote.NoRegion, "the region of the bucket is not set")
	}
	if q.Get("anonymous") == "" && q.Get("role") == "" {
		cfg.Credentials = quiet.Credentials
	}
	cfg.Logger = logging.Nop{}
	cfg.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConns, t.MaxIdleConnsPerHost, t.ReadBufferSize = 0, remote.DefaultInFlight, 64<<10
	})
	o.RequestChecksumCalculation = cfg.RequestChecksumCalculation
	return s3blob.OpenBucket(ctx, s3.NewFromConfig(cfg, func(to *s3.Options) {
		to.UseAccelerate, to.UsePathStyle, to.EndpointOptions.DisableHTTPS = client.UseAccelerate, client.UsePathStyle, client.EndpointOptions.DisableHTTPS
	}), u.Host, &o)
}

// badSetting returns the error for a parameter of an address with a value that it does not take.
func badSetting(name, param string) error {
	return ours.MalformedAddress(name, "the parameter "+param+" has a value that it does not take")
}

// isCredentials reports whether an error of the S3 client comes from looking for credentials: its requests to other services
// than S3 are for them.
func (b *bucket) isCredentials(err error) bool {
	var request, other *smithy.OperationError
	return b.as(err, &request) && request.Service() == s3.ServiceID && errors.As(request.Err, &other) && other.Service() != s3.ServiceID
}
