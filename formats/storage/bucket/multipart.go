package bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

// multipart sends objects as multipart uploads of S3, which do not appear before they are complete.
type multipart struct {
	*bucket
	client *s3.Client
}

func (m multipart) bucketName() *string {
	name := strings.TrimPrefix(m.name, "s3://")
	return &name
}

func (m multipart) Begin(ctx context.Context, key, _ string) (string, error) {
	answer, err := m.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: m.bucketName(), Key: &key})
	if err != nil {
		return "", err
	}
	return *answer.UploadId, nil
}

func (m multipart) SendPart(ctx context.Context, key, id string, number int, content []byte) (string, error) {
	n := int32(number + 1)
	answer, err := m.client.UploadPart(ctx, &s3.UploadPartInput{Bucket: m.bucketName(), Key: &key, UploadId: &id, PartNumber: &n, Body: bytes.NewReader(content)})
	if err != nil {
		return "", err
	}
	if answer.ETag == nil || *answer.ETag == "" {
		return "", errors.New("the store sends no ETag of a part")
	}
	return *answer.ETag, nil
}

func (m multipart) Finish(ctx context.Context, key, id string, tags []string) error {
	var parts []types.CompletedPart
	for i := range tags {
		n := int32(i + 1)
		parts = append(parts, types.CompletedPart{PartNumber: &n, ETag: &tags[i]})
	}
	_, err := m.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: m.bucketName(), Key: &key, UploadId: &id,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
	return err
}

func (m multipart) Abort(ctx context.Context, key, id string) error {
	if id != "" {
		_, err := m.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: m.bucketName(), Key: &key, UploadId: &id})
		if isCode(err, "NoSuchUpload") {
			return nil
		}
		return err
	}
	unfinished := s3.NewListMultipartUploadsPaginator(m.client, &s3.ListMultipartUploadsInput{Bucket: m.bucketName(), Prefix: &key})
	for unfinished.HasMorePages() {
		page, err := unfinished.NextPage(ctx)
		if isCode(err, "NoSuchUpload") { // some servers answer so if there are none
			return nil
		}
		if err != nil {
			return err
		}
		for _, u := range page.Uploads {
			if u.Key == nil || *u.Key != key || u.UploadId == nil || *u.UploadId == "" {
				continue
			}
			if err := m.Abort(ctx, key, *u.UploadId); err != nil {
				return err
			}
		}
	}
	return nil
}

// isCode reports whether an error is an answer of S3 with a code.
func isCode(err error, code string) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == code
}

const (
	mostCopied = 5 << 30 // bytes that S3 copies in one request
	copyStep   = 1 << 30
)

func (m multipart) Copy(ctx context.Context, to, from string) error {
	source := *m.bucketName() + "/" + (&url.URL{Path: from}).EscapedPath()
	head, err := m.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: m.bucketName(), Key: &from})
	if err != nil {
		return err
	}
	size := *head.ContentLength
	if size <= mostCopied {
		_, err := m.client.CopyObject(ctx, &s3.CopyObjectInput{Bucket: m.bucketName(), Key: &to, CopySource: &source})
		return err
	}
	id, err := m.Begin(ctx, to, "")
	if err != nil {
		return err
	}
	var tags []string
	for at := int64(0); at < size && err == nil; at += copyStep {
		n := int32(len(tags) + 1)
		span := "bytes=" + strconv.FormatInt(at, 10) + "-" + strconv.FormatInt(min(at+copyStep, size)-1, 10)
		var answer *s3.UploadPartCopyOutput
		answer, err = m.client.UploadPartCopy(ctx, &s3.UploadPartCopyInput{Bucket: m.bucketName(), Key: &to, UploadId: &id, PartNumber: &n, CopySource: &source, CopySourceRange: &span})
		if err == nil && (answer.CopyPartResult == nil || answer.CopyPartResult.ETag == nil) {
			err = fmt.Errorf("the store sends no ETag of part %d", n)
		}
		if err == nil {
			tags = append(tags, *answer.CopyPartResult.ETag)
		}
	}
	if err == nil {
		err = m.Finish(ctx, to, id, tags)
	}
	if err != nil {
		return errors.Join(err, m.Abort(context.WithoutCancel(ctx), to, id))
	}
	return nil
}
