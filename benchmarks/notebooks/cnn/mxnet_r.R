# CNN in MXNet from R: a Module, and a DataBatch cut from R's own arrays per batch.
library(reticulate)
mx <- import("mxnet")
common <- import("common")

params <- common$parameters("cnn")
samples <- common$arrays("cnn")
x_train <- samples[[1]]
y_train <- samples[[2]]

convolution <- function(x, filters) {
  mx$sym$Convolution(data = x, num_filter = filters, kernel = tuple(3L, 3L), pad = tuple(1L, 1L))
}
relu <- function(x) mx$sym$Activation(data = x, act_type = "relu")
pool <- function(x) mx$sym$Pooling(data = x, pool_type = "max", kernel = tuple(2L, 2L), stride = tuple(2L, 2L))
x <- relu(convolution(mx$sym$Variable("data"), params$filters[1]))
x <- relu(pool(convolution(x, params$filters[1])))
x <- mx$sym$Dropout(x, p = params$dropout[1])
x <- relu(convolution(x, params$filters[2]))
x <- relu(pool(convolution(x, params$filters[2])))
x <- mx$sym$Dropout(x, p = params$dropout[2])
x <- relu(mx$sym$FullyConnected(data = mx$sym$Flatten(data = x), num_hidden = params$hidden))
x <- mx$sym$Dropout(x, p = params$dropout[3])
x <- mx$sym$FullyConnected(data = x, num_hidden = params$n_classes)
softmax <- mx$sym$SoftmaxOutput(data = x, name = "softmax")
shape <- tuple(params$batch_size, 3L, 32L, 32L)
optimizer <- "sgd"
settings <- dict(learning_rate = params$learning_rate, momentum = params$momentum)
rows <- function(order) x_train[order, , , ]

model <- mx$mod$Module(context = mx$cpu(), symbol = softmax)
model$bind(
  data_shapes = list(tuple("data", shape)),
  label_shapes = list(tuple("softmax_label", tuple(params$batch_size)))
)
model$init_params(initializer = mx$init$Xavier(rnd_type = "uniform"))
model$init_optimizer(optimizer = optimizer, optimizer_params = settings)

clock <- common$Clock(mx$`__version__`, wait = mx$nd$waitall)
for (epoch in seq_len(common$EPOCHS)) {
  order <- sample(length(y_train))
  for (step in seq_len(length(y_train) %/% params$batch_size)) {
    chosen <- order[(step - 1) * params$batch_size + seq_len(params$batch_size)]
    x <- mx$nd$array(rows(chosen))
    y <- mx$nd$array(y_train[chosen])
    model$forward(mx$io$DataBatch(data = list(x), label = list(y)), is_train = TRUE)
    model$backward()
    model$update()
  }
  clock$lap()
}
